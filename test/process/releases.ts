/** Two releases of one application, whose read models differ, as rolling deploys of them run beside each other. */
import { aggregate, command, headwater, materializedView, projection, query, type Store, type as typeOf } from 'headwater'
import { mongodb } from 'headwater/mongodb'
import { postgres, postgresStore } from 'headwater/postgres'
import { redis } from 'headwater/redis'
import { z } from 'zod'
import type { StoreAddresses } from './counter-worker.ts'

export type Release = 1 | 2

/** `stage`: what clients may do; see {@link Stage}. */
export const releaseTables = `
  create table prices (id text primary key, price int not null, changes int not null);
  create table stage (stage text not null);
  insert into stage values ('quiet');`

/** `known`: both releases write what both know. `new`: release 2 appends events that only it knows. Before and after that nobody writes. */
export type Stage = 'quiet' | 'known' | 'new' | 'over'

/** Of both releases, and of release 2 alone. */
export type CounterEvent =
  | { readonly type: 'Counted'; readonly by: number }
  | { readonly type: 'Emptied' | 'Doubled'; readonly by?: undefined }

const firstTotal = z.strictObject({ total: z.int(), events: z.int() })
const secondTotal = z.strictObject({ sum: z.int(), largest: z.int(), label: z.string() })
const seenRow = z.strictObject({ events: z.int() })
const firstPrice = z.strictObject({ id: z.string(), price: z.int(), changes: z.int() })
const secondPrice = z.strictObject({ id: z.string(), cents: z.int(), currency: z.literal('EUR'), changes: z.int() })

/** What rows of each version look like, and no others. */
export const rowSchemas = {
  totals: { 1: firstTotal, 2: secondTotal },
  prices: { 1: firstPrice, 2: secondPrice },
  seen: { 1: seenRow },
} as const

type FirstTotal = z.infer<typeof firstTotal>
type SecondTotal = z.infer<typeof secondTotal>
type SeenRow = z.infer<typeof seenRow>

/** The folds, which handlers and tests share: what is tested is whose rows they end up in. */
const first = {
  Counted: (row: FirstTotal | undefined, by: number): FirstTotal => ({ total: (row?.total ?? 0) + by, events: (row?.events ?? 0) + 1 }),
}
const second = {
  Counted: (row: SecondTotal | undefined, by: number): SecondTotal => {
    const sum = (row?.sum ?? 0) + by
    return { sum, largest: Math.max(row?.largest ?? 0, by), label: `sum ${sum}` }
  },
  Doubled: (row: SecondTotal | undefined): SecondTotal | undefined => row && { ...row, sum: row.sum * 2, label: `sum ${row.sum * 2}` },
}
const more = (row: SeenRow | undefined): SeenRow => ({ events: (row?.events ?? 0) + 1 })

/** What a version of a folded read model makes of one more event; undefined: there is no row. */
export function folded(model: 'totals' | 'seen', version: number, row: unknown, { type, by = 0 }: CounterEvent): unknown {
  if (type === 'Emptied') return undefined
  if (model === 'seen') return more(row as SeenRow | undefined)
  if (type === 'Doubled') return version === 1 ? row : second.Doubled(row as SecondTotal | undefined)
  return version === 1 ? first.Counted(row as FirstTotal | undefined, by) : second.Counted(row as SecondTotal | undefined, by)
}

/** What each version of the prices selects. */
export const selects = {
  1: 'select id, price, changes from prices',
  2: `select id, price * 100 as cents, 'EUR' as currency, changes from prices`,
} as const

export type Model = 'totals' | 'prices' | 'seen'

const shared = { Counted: typeOf<{ by: number }>(), Emptied: typeOf<object>() }

const firstCounter = aggregate('counter', {
  events: shared,
  initialState: () => ({}),
  evolve: { Counted: (state) => state, Emptied: (state) => state },
})

const secondCounter = aggregate('counter', {
  events: { ...shared, Doubled: typeOf<object>() },
  initialState: () => ({}),
  evolve: { Counted: (state) => state, Emptied: (state) => state, Doubled: (state) => state },
})

const setPrice = command('setPrice', {
  input: typeOf<{ id: string; price: number }>(),
  async execute({ id, price }, { sql }) {
    if (price === 0) await sql`delete from prices where id = ${id}`
    else {
      await sql`insert into prices values (${id}, ${price}, 1)
        on conflict (id) do update set price = excluded.price, changes = prices.changes + 1`
    }
  },
})

/** 0 empties the counter. */
const count = { input: typeOf<{ id: string; by: number }>(), stream: ({ id }: { id: string }) => id }

const commands = {
  1: {
    count: firstCounter.command('count', {
      ...count,
      decide: (_state, { by }, { events }) => [by === 0 ? events.Emptied({}) : events.Counted({ by })],
    }),
    setPrice,
  },
  2: {
    count: secondCounter.command('count', {
      ...count,
      decide: (_state, { by }, { events }) => [by === 0 ? events.Emptied({}) : events.Counted({ by })],
    }),
    double: secondCounter.command('double', {
      input: typeOf<{ id: string }>(),
      stream: ({ id }) => id,
      decide: (_state, _input, { events }) => [events.Doubled({})],
    }),
    setPrice,
  },
}

/** `totals` and `prices` are of another version and shape in release 2; `seen` is the same, but that release 2 folds one event more into it. */
function modelsOf(release: Release, place: string, store: Store | undefined) {
  const where = store ? { store } : {}
  const prices = { key: 'id', changedBy: { prices: 'id' }, ...where } as const
  if (release === 1) {
    return [
      projection(`totals_${place}`, {
        from: [firstCounter],
        row: firstTotal,
        on: { Counted: (row, { data }) => first.Counted(row, data.by), Emptied: () => null },
        version: 1,
        ...where,
      }),
      projection(`seen_${place}`, { from: [firstCounter], row: seenRow, on: { Counted: more, Emptied: () => null }, version: 1, ...where }),
      materializedView(`prices_${place}`, { ...prices, row: firstPrice, select: selects[1] }),
    ] as const
  }
  return [
    projection(`totals_${place}`, {
      from: [secondCounter],
      row: secondTotal,
      on: { Counted: (row, { data }) => second.Counted(row, data.by), Emptied: () => null, Doubled: second.Doubled },
      version: 2,
      ...where,
    }),
    projection(`seen_${place}`, {
      from: [secondCounter],
      row: seenRow,
      on: { Counted: more, Emptied: () => null, Doubled: more },
      version: 1,
      ...where,
    }),
    materializedView(`prices_${place}`, { ...prices, row: secondPrice, select: selects[2] }),
  ] as const
}

/** How a test finds an application: what it may do is the same in both releases. */
export interface ReleasedApplication {
  start(): Promise<void>
  stop(): Promise<void>
  execute(name: 'count' | 'setPrice' | 'double', input: object): Promise<{ readonly token: string }>
  /** `<model>_<place>`: the row of a key, or null. */
  query(name: string, input: { readonly id: string }, options: object): Promise<{ readonly result: unknown }>
}

/** The store that an address is of; undefined: the write database. */
export function openStore({ redis: hot, mongodb: documents, postgres: rows }: StoreAddresses): Store | undefined {
  if (hot) return redis(hot.url, { prefix: hot.prefix })
  if (rows) return postgresStore(rows.url, { schema: rows.schema, poolSize: 2 })
  return documents && mongodb(documents.url, { database: documents.database })
}

/** What a process of a release is told. */
export interface ReleaseArgument {
  readonly url: string
  readonly tables: string
  readonly schema: string
  /** Where the read models are: one store, or none. */
  readonly stores: StoreAddresses
  readonly release: Release
  /** What its keys begin with, which no other process writes. */
  readonly client: string
  readonly seed: number
  readonly rollbackWindowMs: number
}

/** The application of a release. */
export function released({ url, tables, schema, stores, release, rollbackWindowMs }: ReleaseArgument) {
  const [place = 'home'] = Object.keys(stores)
  const models = modelsOf(release, place, openStore(stores))
  const queries = models.map((model) =>
    query(model.readModelName, {
      input: typeOf<{ id: string }>(),
      reads: { rows: model },
      execute: async ({ id }, { rows }) => (await rows.get(id)) ?? null,
    }),
  )
  const database = postgres(url, { searchPath: tables, poolSize: 4 })
  const app = headwater({
    database,
    schema,
    // Its process tells its client what was wrong, and the database what became of versions.
    log: () => undefined,
    pollIntervalMs: 30,
    rollbackWindowMs,
    commands: commands[release],
    readModels: Object.fromEntries(models.map((model) => [model.readModelName, model])),
    queries: Object.fromEntries(queries.map((one) => [one.queryName, one])),
  }) as unknown as ReleasedApplication
  return { app, database, place }
}
