/**
 * A process of one release, which commands, keeps and asks. It writes keys of its own and asks for each write under its token; nobody else writes those keys,
 * so exactly one answer of each version is right. It tells `ready`, and then, as JSON, each answer that is none of them.
 */
import { setTimeout as pause } from 'node:timers/promises'
import { type CounterEvent, folded, type Model, type ReleaseArgument, released, type Stage } from './releases.ts'

const argument = JSON.parse(process.argv[2] ?? '{}') as ReleaseArgument
const { app, database, place } = released(argument)
const { release, client } = argument
const tell = (line: unknown) => process.stdout.write(`${JSON.stringify(line)}\n`)

let state = argument.seed
function random(below: number): number {
  state = (Math.imul(state, 1103515245) + 12345) & 0x7fffffff
  return (state >>> 8) % below
}

interface Prices {
  readonly price: number
  readonly changes: number
}

const rows = { 'totals 1': new Map<string, unknown>(), 'totals 2': new Map<string, unknown>(), 'seen 1': new Map<string, unknown>() }
const prices = new Map<string, Prices>()
/** The newest version that answered, of each read model: no older one answers after it. */
const newest = new Map<string, number>()
let answered = 0
let stopping = false

/** What each version says of a key. */
function right(model: Model, id: string): readonly unknown[] {
  if (model === 'totals') return [rows['totals 1'].get(id), rows['totals 2'].get(id)]
  if (model === 'seen') return [rows['seen 1'].get(id)]
  const price = prices.get(id)
  return price
    ? [
        { id, ...price },
        { id, cents: price.price * 100, currency: 'EUR', changes: price.changes },
      ]
    : [undefined, undefined]
}

/** Asks until there is an answer, and says what was said instead; what no waiting mends ends it. */
async function ask(model: Model, id: string, token: string): Promise<void> {
  const name = `${model}_${place}`
  const wanted = right(model, id)
  for (;;) {
    try {
      const { result } = await app.query(name, { id }, { after: token, waitMs: 5_000 })
      judge(name, id, result, wanted)
      return
    } catch (error) {
      if (stopping) return
      tell({ name, id, failed: error instanceof Error && 'code' in error ? error.code : String(error) })
      await pause(20)
    }
  }
}

function judge(name: string, id: string, result: unknown, wanted: readonly unknown[]): void {
  answered++
  const versions = wanted.flatMap((row, i) => (same(row ?? null, result) ? [i + 1] : []))
  if (versions.length === 0) return void tell({ name, id, wrong: result, wanted })
  // What is not there is the same in both.
  if (versions.length > 1) return
  const [version = 0] = versions
  const before = newest.get(name) ?? 0
  if (version < before) tell({ name, id, wrong: `version ${version} after version ${before}` })
  newest.set(name, Math.max(version, before))
}

function same(a: unknown, b: unknown): boolean {
  return ordered(a) === ordered(b)
}

function ordered(row: unknown): string {
  return JSON.stringify(row === null ? null : Object.entries(row as object).sort(([a], [b]) => (a < b ? -1 : 1)))
}

async function count(id: string, stage: Stage): Promise<void> {
  const by = random(8)
  const doubles = release === 2 && stage === 'new' && random(3) === 0
  const { token } = await (doubles ? app.execute('double', { id }) : app.execute('count', { id, by }))
  const event: CounterEvent = doubles ? { type: 'Doubled' } : by === 0 ? { type: 'Emptied' } : { type: 'Counted', by }
  for (const [key, kept] of Object.entries(rows)) {
    const [model = '', version] = key.split(' ')
    kept.set(id, folded(model as 'totals' | 'seen', Number(version), kept.get(id), event))
  }
  const models: readonly Model[] = ['totals', 'seen']
  await Promise.all(models.map((model) => ask(model, id, token)))
}

async function setPrice(id: string): Promise<void> {
  const price = random(8)
  const { token } = await app.execute('setPrice', { id, price })
  if (price === 0) prices.delete(id)
  else prices.set(id, { price, changes: (prices.get(id)?.changes ?? 0) + 1 })
  await ask('prices', id, token)
}

async function stageNow(): Promise<Stage> {
  return (await database.query<{ stage: Stage }>('select stage from stage')).rows[0]?.stage ?? 'over'
}

async function live(): Promise<void> {
  for (let stage = await stageNow(); stage !== 'over' && !stopping; stage = await stageNow()) {
    const id = `${client}-${random(6)}`
    if (stage !== 'quiet') await (random(2) === 0 ? count(id, stage) : setPrice(id))
    await pause(random(30))
  }
  tell({ answered })
}

process.on('SIGTERM', () => {
  stopping = true
  void living.then(() => app.stop())
})
await app.start()
const living = live()
process.stdout.write('ready\n')
await living
