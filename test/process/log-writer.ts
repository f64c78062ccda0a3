/** A process that appends at random, from a seed, through several writers at once, and prints each append that was acknowledged. */
import { randomUUID } from 'node:crypto'
import { silentLog, systemClock } from 'headwater'
import { postgres } from 'headwater/postgres'

const options = JSON.parse(process.argv[2] ?? '{}') as { url: string; schema: string; generation: string; seed: number; rounds: number }
const { databaseLog } = (await import(
  new URL('../../../dist/log/database-log.js', import.meta.url).href
)) as typeof import('../../src/log/database-log.ts')
const database = postgres(options.url, { poolSize: 3 })
const log = databaseLog({
  database,
  schema: options.schema,
  clock: systemClock,
  log: silentLog,
  generation: () => options.generation,
  renewGeneration: () => Promise.reject(new Error('the generation changed')),
  onLost: () => {},
})

let state = options.seed
function random(below: number): number {
  state = (Math.imul(state, 1103515245) + 12345) & 0x7fffffff
  return (state >>> 8) % below
}

function batch(size: number, request: string) {
  return Array.from({ length: size }, (_, n) => ({
    id: randomUUID(),
    type: `Type${n % 3}`,
    schemaVersion: 1,
    data: { request, size, n, padding: 'x'.repeat(random(200)) },
    metadata: {},
  }))
}

async function round(): Promise<void> {
  const stream = `s${random(12)}`
  const request = randomUUID()
  const { version } = await log.readStream('thing', stream)
  const expected = ([version, version, 'any', version + random(3), 'no_stream', 'stream_exists'] as const)[random(6)] ?? 'any'
  const events = batch(1 + random(6), request)
  const more = random(4) === 0 ? [{ aggregate: 'other', stream, expected: 'any' as const, events: batch(events.length, request) }] : []
  const all = [...events, ...more.flatMap((each) => each.events)]
  const outcome = await log.append({
    streams: [{ aggregate: 'thing', stream, expected, events }, ...more],
    ...(random(2) === 0 && { answer: { command: 'write', key: request, inputHash: 'h', result: 1 } }),
  })
  process.stdout.write(
    `${JSON.stringify({ status: outcome.status, ids: all.map(({ id }) => id), position: 'position' in outcome ? outcome.position : 0 })}\n`,
  )
}

await Promise.all(
  Array.from({ length: 4 }, async () => {
    for (let i = 0; i < options.rounds; i++) await round()
  }),
)
await database.close()
