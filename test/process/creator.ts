/**
 * A process that creates streams, twenty at once, waiting after each twenty for the other creator to have tried the same. Prints which it created.
 */
import { randomUUID } from 'node:crypto'
import { postgres } from 'headwater/postgres'
import { distLog } from './dist-log.ts'

export interface Creator {
  readonly url: string
  readonly schema: string
  readonly generation: string
  readonly name: string
  readonly rounds: number
}

const options = JSON.parse(process.argv[2] ?? '{}') as Creator
const database = postgres(options.url, { poolSize: 4 })
const { log } = await distLog(database, options)
const tried = `"${options.schema}".tried`

async function create(stream: string): Promise<string> {
  const event = { id: randomUUID(), type: 'Created', schemaVersion: 1, data: { by: options.name }, metadata: {} }
  const expected = stream.endsWith('0') ? 0 : 'no_stream'
  const { status } = await log.append({ streams: [{ aggregate: 'thing', stream, expected, events: [event] }] })
  if (status !== 'appended' && status !== 'conflict') throw new Error(status)
  return status
}

/** Until both are as far. */
async function meet(round: number): Promise<void> {
  await database.query(`insert into ${tried} values ($1, $2)`, [options.name, round])
  for (;;) {
    const { rows } = await database.query<{ there: number }>(`select count(*)::int as there from ${tried} where round = $1`, [round])
    if (rows[0]?.there === 2) return
  }
}

const created: string[] = []
for (let round = 0; round < options.rounds; round++) {
  await meet(round)
  const streams = Array.from({ length: 20 }, (_, i) => `s${round}.${i}`)
  const outcomes = await Promise.all(streams.map(create))
  created.push(...streams.filter((_, i) => outcomes[i] === 'appended'))
}
await database.close()
process.stdout.write(`${JSON.stringify(created)}\n`)
