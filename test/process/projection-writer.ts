/** A process that appends at random, from a seed, and takes sync projections along. */
import { randomUUID } from 'node:crypto'
import { type ChildOptions, open } from './projection-models.ts'

const options = JSON.parse(process.argv[2] ?? '{}') as ChildOptions
const { worker, eventLog, database } = open(options, { fold: false })
await worker.start()

let state = options.seed
function random(below: number): number {
  state = (Math.imul(state, 1103515245) + 12345) & 0x7fffffff
  return (state >>> 8) % below
}

function happening(): readonly [string, unknown] {
  const dice = random(12)
  if (dice < 2) return ['Opened', { owner: `o${random(5)}` }]
  return dice < 11 ? ['Moved', { amount: random(100), to: `s${random(20)}` }] : ['Closed', {}]
}

async function round(): Promise<void> {
  const streams = [...new Set([`s${random(20)}`, ...(random(4) === 0 ? [`s${random(20)}`] : [])])]
  const events = streams.map(() =>
    Array.from({ length: 1 + random(3) }, () => {
      const [type, data] = happening()
      return { id: randomUUID(), type, schemaVersion: 1, data, metadata: {} }
    }),
  )
  for (let tries = 0; tries < 200; tries++) {
    const outcome = await eventLog.append({
      streams: streams.map((stream, i) => ({ aggregate: 'account', stream, expected: 'any', events: events[i] ?? [] })),
    })
    if (outcome.status === 'appended') return
    if (outcome.status !== 'stale') throw new Error(outcome.status)
  }
  throw new Error('stale 200 times')
}

for (let i = 0; i < options.rounds; i++) {
  await Promise.all([round(), round(), round()])
  if (random(3) === 0) await new Promise((resolve) => setTimeout(resolve, random(10)))
}
await worker.stop()
await database.close()
process.stdout.write('done\n')
