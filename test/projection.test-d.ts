import { aggregate, type as typeOf } from 'headwater'
import { expectTypeOf, test } from 'vitest'
import { z } from 'zod'
import type { Immutable } from '../src/internal/immutable.ts'
import { projection } from '../src/projection/projection.ts'
import type { ProjectionReader } from '../src/projection/projection-definition.ts'

const account = aggregate('account', {
  events: {
    Opened: z.object({ owner: z.string() }),
    Deposited: z.object({ amount: z.int(), note: z.string().default('') }),
    Closed: z.object({}),
  },
  initialState: () => ({}),
  evolve: { Opened: (state) => state, Deposited: (state) => state, Closed: (state) => state },
})
const transfer = aggregate('transfer', {
  events: { Requested: z.object({ from: z.string(), to: z.string(), amount: z.int() }) },
  initialState: () => ({}),
  evolve: { Requested: (state) => state },
})
type Balance = { owner: string; balance: number; status: 'open' | 'closed' }
const row = z.object({ owner: z.string(), balance: z.int(), status: z.enum(['open', 'closed']) })

test('row, key and indexed members flow to the reader', () => {
  const balances = projection('balances', {
    from: [account],
    row,
    key: (event) => event.stream,
    on: {
      Opened: (_none, { data }) => ({ owner: data.owner, balance: 0, status: 'open' }),
      Deposited: (given, { data }) => {
        expectTypeOf(given).toEqualTypeOf<Immutable<Balance> | undefined>()
        expectTypeOf(data).toEqualTypeOf<{ amount: number; note: string }>()
        return given && { ...given, balance: given.balance + data.amount }
      },
      Closed: () => null,
    },
    indexes: { byOwner: ['owner', 'balance'] },
  })
  expectTypeOf(balances.readModelName).toEqualTypeOf<'balances'>()
  expectTypeOf(balances['~reader']).toEqualTypeOf<ProjectionReader<Balance, string, 'owner' | 'balance'>>()
})

test('several aggregates, several keys, composite keys', () => {
  const activity = projection('activity', {
    from: [account, transfer],
    row: z.object({ events: z.int() }),
    key: (event) =>
      event.type === 'Requested'
        ? [
            { account: event.data.from, month: 'm' },
            { account: event.data.to, month: 'm' },
          ]
        : { account: event.stream, month: event.time.slice(0, 7) },
    on: {
      Deposited: (given) => ({ events: (given?.events ?? 0) + 1 }),
      Requested: (given, event, key) => {
        expectTypeOf(event.data).toEqualTypeOf<{ from: string; to: string; amount: number }>()
        expectTypeOf(key).toEqualTypeOf<{ account: string; month: string }>()
        return { events: (given?.events ?? 0) + event.data.amount }
      },
    },
  })
  expectTypeOf(activity['~reader'].get).parameter(0).toEqualTypeOf<{ account: string; month: string }>()
})

test('a type without a schema, and no index', () => {
  const plain = projection('plain', { from: [account], row: typeOf<{ n: number }>(), on: { Opened: () => ({ n: 1 }) } })
  expectTypeOf(plain['~reader']).toEqualTypeOf<ProjectionReader<{ n: number }, string, never>>()
})

test('definitions refuse what does not fit', () => {
  projection('x', {
    from: [account],
    row: z.object({ n: z.int() }),
    // @ts-expect-error no such event
    on: { Opend: () => ({ n: 1 }) },
  })
  projection('x', {
    from: [account],
    row: z.object({ n: z.int() }),
    on: {
      // @ts-expect-error n is a number
      Opened: () => ({ n: 'one' }),
    },
  })
  projection('x', {
    from: [account],
    row: z.object({ n: z.int() }),
    // @ts-expect-error handlers are synchronous
    on: { Opened: async () => ({ n: 1 }) },
  })
  projection('x', {
    from: [account],
    row: z.object({ n: z.int() }),
    on: {
      Deposited: (given) => {
        // @ts-expect-error rows are not changed
        if (given) given.n = 2
        return given
      },
    },
  })
  projection('x', {
    from: [account],
    row: z.object({ n: z.int() }),
    on: { Opened: () => ({ n: 1 }) },
    // @ts-expect-error no such member
    indexes: { byM: ['m'] },
  })
})
