import { type as ark } from 'arktype'
import {
  type Aggregate,
  aggregate,
  type Command,
  command,
  type EventCommand,
  type EventSource,
  headwater,
  type Immutable,
  type NewEvent,
  reject,
  type,
} from 'headwater'
import { pglite } from 'headwater/postgres'
import { given } from 'headwater/testing'
import * as v from 'valibot'
import { expectTypeOf, test } from 'vitest'
import { z } from 'zod'
import type { executeCommand } from '../src/command/execute-command.ts'
import type { executeMany } from '../src/command/execute-many.ts'

interface Account {
  status: 'none' | 'open' | 'closed'
  balance: number
  owner?: string
  holds: string[]
}

const account = aggregate('account', {
  events: {
    AccountOpened: z.object({ owner: z.string() }),
    MoneyDeposited: z.object({ amount: z.int(), note: z.string().default('') }),
    AccountClosed: z.object({}),
  },
  initialState: (): Account => ({ status: 'none', balance: 0, holds: [] }),
  evolve: {
    AccountOpened: (state, { owner }) => ({ ...state, status: 'open', owner, holds: [...state.holds, owner] }),
    MoneyDeposited: (state, { amount, note }) => {
      expectTypeOf(state).toEqualTypeOf<Immutable<Account>>()
      expectTypeOf(note).toEqualTypeOf<string>()
      return { ...state, balance: state.balance + amount }
    },
    AccountClosed: (state) => ({ ...state, status: 'closed' }),
  },
})

const input = z.object({ accountId: z.string(), amount: z.int().default(1) })
const deposit = account.command('deposit', {
  input,
  stream: ({ accountId }) => accountId,
  decide(state, input, { events, context }) {
    expectTypeOf(state).toEqualTypeOf<Immutable<Account>>()
    expectTypeOf(input).toEqualTypeOf<{ accountId: string; amount: number }>()
    expectTypeOf(context.actor).toEqualTypeOf<string | undefined>()
    if (state.status !== 'open') return reject('account_not_open')
    return [events.MoneyDeposited({ amount: input.amount })]
  },
})

test('makers take what the schema takes and give what it gives', () => {
  expectTypeOf(account.events.MoneyDeposited).parameter(0).toEqualTypeOf<{ amount: number; note?: string | undefined }>()
  expectTypeOf(account.events.MoneyDeposited({ amount: 1 })).toEqualTypeOf<NewEvent<'MoneyDeposited', { amount: number; note: string }>>()
  // @ts-expect-error wrong data
  account.events.MoneyDeposited({ amount: '1' })
  // @ts-expect-error no such event
  account.events.MoneyLost({ amount: 1 })
})

test('a definition that does not fit is refused', () => {
  const events = { Counted: z.object({ n: z.int() }) }
  // @ts-expect-error evolve has nothing for the event
  aggregate('a', { events, initialState: () => 0, evolve: {} })
  // @ts-expect-error evolve gives another state
  aggregate('a', { events, initialState: (): number => 0, evolve: { Counted: () => 'a' } })
  // @ts-expect-error evolve is synchronous
  aggregate('a', { events, initialState: (): number => 0, evolve: { Counted: async () => 1 } })
  aggregate('a', {
    events,
    initialState: (): { list: number[] } => ({ list: [] }),
    evolve: {
      Counted: (state, { n }) => {
        // @ts-expect-error the state is immutable
        state.list.push(n)
        return state
      },
    },
  })
})

test('upcasts state the old shapes, and the last one gives the new one', () => {
  const events = { Priced: z.object({ cents: z.int(), currency: z.string() }) }
  const rest = { events, initialState: (): number => 0, evolve: { Priced: (state: number) => state } }
  aggregate('a', { ...rest, upcast: { Priced: [(old: { euros: number }) => ({ cents: old.euros * 100, currency: 'EUR' })] } })
  aggregate('a', {
    ...rest,
    upcast: {
      Priced: [(old: { euros: number }) => ({ cents: old.euros * 100 }), (old: { cents: number }) => ({ ...old, currency: 'EUR' })],
    },
  })
  // @ts-expect-error the last step gives no currency
  aggregate('a', { ...rest, upcast: { Priced: [(old: { euros: number }) => ({ cents: old.euros * 100 })] } })
  // @ts-expect-error no such event
  aggregate('a', { ...rest, upcast: { Prized: [() => ({ cents: 1, currency: 'EUR' })] } })
})

test('decide may give only events of its aggregate, at once', () => {
  const stream = ({ accountId }: { accountId: string }) => accountId
  // @ts-expect-error no event of this aggregate
  account.command('probe', { input, stream, decide: () => [{ type: 'Nonsense', data: {} }] })
  // @ts-expect-error wrong data
  account.command('probe', { input, stream, decide: () => [{ type: 'AccountOpened', data: { owner: 3 } }] })
  // @ts-expect-error not a promise
  account.command('probe', { input, stream, decide: async () => [] })
  // @ts-expect-error a stream's id is text
  account.command('probe', { input, stream: () => 3, decide: () => [] })
  account.command('probe', {
    input,
    stream,
    decide(state, { amount }, { events }) {
      // @ts-expect-error the state is immutable
      state.balance = 3
      return amount > 0 && state.holds.length > 0 ? [events.AccountClosed({}), events.MoneyDeposited({ amount })] : []
    },
  })
})

test('a command of an aggregate is a command like any other', () => {
  expectTypeOf(deposit).toEqualTypeOf<EventCommand<'deposit', typeof input>>()
  expectTypeOf(deposit).toExtend<Command<'deposit', typeof input, { readonly version: number }>>()
  expectTypeOf(deposit).toExtend<Parameters<typeof executeCommand>[1]>()
  expectTypeOf(deposit).toExtend<Parameters<typeof executeMany>[1]>()
  expectTypeOf(deposit({ accountId: 'a' }).command).toEqualTypeOf<'deposit'>()
  // @ts-expect-error wrong input
  deposit({ accountId: 3 })
  const countWords = command('countWords', { input: z.object({ text: z.string() }), execute: async ({ text }) => ({ words: text.length }) })
  const app = headwater({ database: pglite(), commands: { deposit, countWords, account } })
  expectTypeOf<Parameters<typeof app.execute>[0]>().toEqualTypeOf<'deposit' | 'countWords'>()
  ;async () => {
    expectTypeOf((await app.execute('deposit', { accountId: 'a' }, { ifVersion: 3 })).result).toEqualTypeOf<{ readonly version: number }>()
    expectTypeOf((await app.execute('countWords', { text: 'a' })).result).toEqualTypeOf<{ words: number }>()
  }
})

test('an aggregate is a source of events', () => {
  expectTypeOf(account).toExtend<EventSource<'account'>>()
  expectTypeOf(account).toExtend<EventSource>()
  expectTypeOf(account.schemas).toEqualTypeOf<{
    AccountOpened: typeof account.schemas.AccountOpened
    MoneyDeposited: typeof account.schemas.MoneyDeposited
    AccountClosed: typeof account.schemas.AccountClosed
  }>()
  expectTypeOf(account).toExtend<Aggregate<'account', typeof account.schemas, Account>>()
})

test('emit takes events of its aggregate', () => {
  command('emitting', {
    input: z.object({}),
    async execute(_input, { emit }) {
      emit(account, 'a', account.events.AccountOpened({ owner: 'a' }), account.events.AccountClosed({}))
      // @ts-expect-error no event of this aggregate
      emit(account, 'a', { type: 'Nonsense', data: {} })
      // @ts-expect-error wrong data
      emit(account, 'a', { type: 'AccountOpened', data: { owner: 3 } })
    },
  })
})

test('given, when, then', () => {
  given(account, account.events.AccountOpened({ owner: 'a' }))
    .when(deposit, { accountId: 'a' })
    .then(account.events.MoneyDeposited({ amount: 1 }))
  // @ts-expect-error no event of this aggregate
  ;() => given(account, { type: 'Nonsense', data: {} })
  // @ts-expect-error wrong input
  ;() => given(account).when(deposit, { accountId: 3 })
  // @ts-expect-error no event of this aggregate
  ;() => given(account).when(deposit, { accountId: 'a' }).then({ type: 'Nonsense', data: {} })
})

test('any Standard Schema library, or only a type, will do', () => {
  const mixed = aggregate('mixed', {
    events: { A: v.object({ a: v.optional(v.string(), 'x') }), B: ark({ b: 'number' }), C: type<{ c: boolean }>() },
    initialState: (): { seen: (string | number | boolean)[] } => ({ seen: [] }),
    evolve: {
      A: (state, { a }) => ({ seen: [...state.seen, a] }),
      B: (state, { b }) => ({ seen: [...state.seen, b] }),
      C: (state, { c }) => ({ seen: [...state.seen, c] }),
    },
  })
  expectTypeOf(mixed.events.A).parameter(0).toEqualTypeOf<{ a?: string | undefined }>()
  expectTypeOf(mixed.events.A({}).data).toEqualTypeOf<{ a: string }>()
  expectTypeOf(mixed.events.B({ b: 1 }).data).toEqualTypeOf<{ b: number }>()
})
