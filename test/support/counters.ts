import type { Database, Headwater, Store } from 'headwater'
import type { commands, Price, Total } from '../process/counters.ts'
import type { Random } from './seed.ts'

/** An application over counters and prices, as far as these tests use it. */
export interface CounterApplication extends Pick<Headwater, 'start' | 'stop' | 'settle' | 'status' | 'uninstall' | 'readModel'> {
  execute(name: keyof typeof commands, input: object, options?: object): Promise<{ readonly token: string }>
  query(name: string, input: object, options?: object): Promise<{ readonly result: unknown }>
}

type Entry = readonly [key: string, row: unknown]

/** What a place's read models must hold, by the words of their definitions and nothing of the library's. */
export async function expectedRows(
  database: Database,
  schema: string,
): Promise<{ readonly totals: readonly Entry[]; readonly prices: readonly Entry[] }> {
  const { rows: events } = await database.query<{ stream: string; type: string; data: { by: number } }>(
    `select stream, type, data from "${schema}".event order by position`,
  )
  const totals = new Map<string, Total>()
  for (const { stream, type, data } of events) {
    const id = stream.slice('counter-'.length)
    const row = totals.get(id)
    if (type === 'Emptied') totals.delete(id)
    else totals.set(id, { total: (row?.total ?? 0) + data.by, events: (row?.events ?? 0) + 1 })
  }
  const { rows } = await database.query<Price>('select id, price, changes from prices')
  return { totals: sorted([...totals]), prices: sorted(rows.map((row) => [row.id, row])) }
}

/** What a store holds of a place's read models. */
export async function storedRows(
  store: Store,
  owner: string,
  name: string,
): Promise<{ readonly totals: readonly Entry[]; readonly prices: readonly Entry[] }> {
  const read = async (model: string) => {
    const request = { index: undefined, from: '', to: '\u{10ffff}', reverse: false, limit: 10_000 }
    const { rows } = await store.range({ owner, name: `${model}_${name}`, version: 1, indexes: [] }, request)
    return sorted(rows.map(({ key, row }) => [key, JSON.parse(row) as unknown]))
  }
  return { totals: await read('totals'), prices: await read('prices') }
}

function sorted(entries: readonly Entry[]): readonly Entry[] {
  const ordered = (row: unknown) => Object.fromEntries(Object.entries(row as object).sort(([a], [b]) => (a < b ? -1 : 1)))
  return entries.map(([key, row]): Entry => [key, ordered(row)]).sort(([a], [b]) => (a < b ? -1 : 1))
}

/** What came of a client's asking for its own writes. */
export interface Asked {
  /** Answers under the token of the last write. */
  readonly answered: number
  /** Answers from before that write. */
  readonly wrong: readonly string[]
  /** Codes of failures, which are no answers. */
  readonly failed: ReadonlyMap<string, number>
}

/**
 * A client that counts and sets prices under keys of its own, and after each write asks every place for it under the write's token. Nobody else writes
 * those keys, so exactly one answer is right. Each write takes along the token of the one before it under its key: a write that finds nothing to change,
 * as one that takes away what is gone, says nothing of that one by itself.
 */
export async function askOwnWrites(
  app: CounterApplication,
  options: {
    readonly places: readonly string[]
    readonly client: string
    readonly random: Random
    readonly until: (round: number) => boolean
  },
): Promise<Asked> {
  const { places, client, random, until } = options
  const totals = new Map<string, Total>()
  const prices = new Map<string, Price>()
  const tokens = new Map<string, string>()
  const wrong: string[] = []
  const failed = new Map<string, number>()
  let answered = 0
  const ask = async (query: string, id: string, token: string, right: unknown) => {
    try {
      const { result } = await app.query(query, { id }, { after: token, waitMs: 500 })
      answered++
      if (JSON.stringify(result) !== JSON.stringify(right))
        wrong.push(`${query} ${id}: ${JSON.stringify(result)} instead of ${JSON.stringify(right)}`)
    } catch (error) {
      const code = error instanceof Error && 'code' in error ? String(error.code) : String(error)
      failed.set(code, (failed.get(code) ?? 0) + 1)
    }
  }
  const write = async (name: 'count' | 'setPrice', id: string, input: object) => {
    const before = tokens.get(`${name} ${id}`)
    const { token } = await app.execute(name, { id, ...input }, before === undefined ? {} : { after: before })
    tokens.set(`${name} ${id}`, token)
    return token
  }
  for (let round = 0; !until(round); round++) {
    const id = `${client}-${random(6)}`
    const by = random(8)
    if (random(2) === 0) {
      const token = await write('count', id, { by })
      const row = totals.get(id)
      if (by === 0) totals.delete(id)
      else totals.set(id, { total: (row?.total ?? 0) + by, events: (row?.events ?? 0) + 1 })
      await Promise.all(places.map((name) => ask(`total_${name}`, id, token, totals.get(id) ?? null)))
    } else {
      const token = await write('setPrice', id, { price: by })
      const row = prices.get(id)
      if (by === 0) prices.delete(id)
      else prices.set(id, { id, price: by, changes: (row?.changes ?? 0) + 1 })
      await Promise.all(places.map((name) => ask(`price_${name}`, id, token, prices.get(id) ?? null)))
    }
  }
  return { answered, wrong, failed }
}
