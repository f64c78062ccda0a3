/**
 * A process that appends at random, from a seed, through several writers at once, and prints each append that was acknowledged, and each that was
 * rolled back with the transaction it was part of.
 */
import { randomUUID } from 'node:crypto'
import { postgres } from 'headwater/postgres'
import { dist, distLog } from './dist-log.ts'

const options = JSON.parse(process.argv[2] ?? '{}') as { url: string; schema: string; generation: string; seed: number; rounds: number }
const { stageAppend, takeStaged } = await dist<typeof import('../../src/log/stage-append.ts')>('log/stage-append.js')
const database = postgres(options.url, { poolSize: 5 })
const { runtime, log } = await distLog(database, options)

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

function tell(outcome: { readonly status: string; readonly position?: number }, events: readonly { readonly id: string }[]): void {
  process.stdout.write(`${JSON.stringify({ status: outcome.status, ids: events.map(({ id }) => id), position: outcome.position ?? 0 })}\n`)
}

class Undone extends Error {}

/** As a command over tables that emits events: they are appended by the commit of its transaction, or not at all. */
async function roundWithin(): Promise<void> {
  const events = batch(1 + random(4), randomUUID())
  const undone = random(2) === 0
  let staged = ''
  try {
    await database.transaction(async (transaction) => {
      const request = { streams: [{ aggregate: 'within', stream: `s${random(4)}`, expected: 'any' as const, events }] }
      staged = await stageAppend(runtime, transaction, request)
      if (undone) throw new Undone()
    })
  } catch (error) {
    if (!(error instanceof Undone)) throw error
    return tell({ status: 'rolled back' }, events)
  }
  tell((await takeStaged(database, options.schema, staged)) ?? { status: 'not there' }, events)
}

async function round(): Promise<void> {
  if (random(6) === 0) return await roundWithin()
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
  tell(outcome, all)
}

await Promise.all(
  Array.from({ length: 4 }, async () => {
    for (let i = 0; i < options.rounds; i++) await round()
  }),
)
await database.close()
