/** What the tests of stores have in common: counters of events and prices in a table, each as a read model in each of several stores. */
import { aggregate, command, materializedView, projection, query, type Store, type as typeOf } from 'headwater'

export const priceTables = 'create table prices (id text primary key, price int not null, changes int not null)'

/** Of a counter: what it comes to, and how many events made it, so that one that was folded twice shows. */
export interface Total {
  readonly total: number
  readonly events: number
}

/** Of a price: how often it was changed is written with it. */
export interface Price {
  readonly id: string
  readonly price: number
  readonly changes: number
}

export const counter = aggregate('counter', {
  events: { Counted: typeOf<{ by: number }>(), Emptied: typeOf<object>() },
  initialState: () => ({}),
  evolve: { Counted: (state) => state, Emptied: (state) => state },
})

export const commands = {
  /** 0 empties the counter. */
  count: counter.command('count', {
    input: typeOf<{ id: string; by: number }>(),
    stream: ({ id }) => id,
    decide: (_state, { by }, { events }) => [by === 0 ? events.Emptied({}) : events.Counted({ by })],
  }),
  /** 0 takes it away. */
  setPrice: command('setPrice', {
    input: typeOf<{ id: string; price: number }>(),
    async execute({ id, price }, { sql }) {
      if (price === 0) await sql`delete from prices where id = ${id}`
      else {
        await sql`insert into prices values (${id}, ${price}, 1)
          on conflict (id) do update set price = excluded.price, changes = prices.changes + 1`
      }
    },
  }),
}

function totals(name: string, store: Store | undefined) {
  return projection(name, {
    from: [counter],
    row: typeOf<Total>(),
    on: {
      Counted: (row, { data }) => ({ total: (row?.total ?? 0) + data.by, events: (row?.events ?? 0) + 1 }),
      Emptied: () => null,
    },
    indexes: { byTotal: ['total'] },
    ...(store ? { store } : {}),
  })
}

function prices(name: string, store: Store | undefined) {
  return materializedView(name, {
    row: typeOf<Price>(),
    key: 'id',
    select: 'select id, price, changes from prices',
    changedBy: { prices: 'id' },
    indexes: { byPrice: ['price'] },
    ...(store ? { store } : {}),
  })
}

/** The read models in a store (undefined: in the write database), and a query of one key of each: `total_<place>` and `price_<place>`. */
export function place(name: string, store: Store | undefined) {
  const total = totals(`totals_${name}`, store)
  const price = prices(`prices_${name}`, store)
  return {
    readModels: [total, price],
    queries: [
      query(`total_${name}`, {
        input: typeOf<{ id: string }>(),
        reads: { total },
        execute: async ({ id }, { total }) => (await total.get(id)) ?? null,
      }),
      query(`price_${name}`, {
        input: typeOf<{ id: string }>(),
        reads: { price },
        execute: async ({ id }, { price }) => (await price.get(id)) ?? null,
      }),
      query(`totals_${name}`, {
        input: typeOf<object>(),
        reads: { total },
        execute: async (_none, { total }) => (await total.find({ orderBy: { total: 'asc' }, limit: 1000 })).items.length,
      }),
      query(`prices_${name}`, {
        input: typeOf<object>(),
        reads: { price },
        execute: async (_none, { price }) => (await price.find({ orderBy: { price: 'asc' }, limit: 1000 })).items.length,
      }),
    ],
  } as const
}

/** The same for several stores, as an application takes them. */
export function places(stores: Readonly<Record<string, Store | undefined>>) {
  const all = Object.entries(stores).map(([name, store]) => place(name, store))
  const record = <T>(items: readonly T[]): Readonly<Record<string, T>> => Object.fromEntries(items.map((item, i) => [`${i}`, item]))
  return {
    commands,
    readModels: record(all.flatMap(({ readModels }) => [...readModels])),
    queries: record(all.flatMap(({ queries }) => [...queries])),
  }
}
