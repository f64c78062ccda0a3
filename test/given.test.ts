import { aggregate, HandlerError, InvalidEventError, InvalidInputError, reject, type Schema, type, UsageError } from 'headwater'
import { given } from 'headwater/testing'
import { describe, expect, test } from 'vitest'
import { z } from 'zod'
import { account, closeAccount, deposit, openAccount, withdraw } from './support/account.ts'

const { AccountOpened, MoneyDeposited, MoneyWithdrawn, AccountClosed } = account.events
const opened = AccountOpened({ owner: 'Ann' })

describe('a decision', () => {
  test('is what it should be', () => {
    given(account).when(openAccount, { accountId: 'a', owner: 'Ann' }).then(opened)
    given(account, opened)
      .when(deposit, { accountId: 'a', amount: 5 })
      .then(MoneyDeposited({ amount: 5 }))
    given(account, opened, MoneyDeposited({ amount: 5 }))
      .when(withdraw, { accountId: 'a', amount: 5 })
      .then(MoneyWithdrawn({ amount: 5 }))
    given(account, opened, AccountClosed({})).when(closeAccount, { accountId: 'a' }).then()
  })

  test('is a refusal, returned or thrown, with or without its details', () => {
    given(account).when(deposit, { accountId: 'a', amount: 5 }).thenRejected('account_not_open')
    given(account).when(deposit, { accountId: 'a', amount: 5 }).thenRejected('account_not_open', { status: 'none' })
    given(account, opened).when(withdraw, { accountId: 'a', amount: 5 }).thenRejected('insufficient_funds', { balance: 0 })
  })

  test('may be made several times from one beginning', () => {
    const open = given(account, opened)
    open.when(deposit, { accountId: 'a', amount: 1 }).then(MoneyDeposited({ amount: 1 }))
    open.when(withdraw, { accountId: 'a', amount: 1 }).thenRejected('insufficient_funds')
  })

  test('sees who asks', () => {
    const whoami = account.command('whoami', {
      input: z.object({}),
      stream: () => 'a',
      decide: (_state, _input, { context, events }) => [events.AccountOpened({ owner: context.actor ?? 'nobody' })],
    })
    given(account)
      .when(whoami, {}, { actor: 'Eve' })
      .then(AccountOpened({ owner: 'Eve' }))
  })
})

describe('a failure says', () => {
  test.each([
    [
      'other events',
      () =>
        given(account, opened)
          .when(deposit, { accountId: 'a', amount: 5 })
          .then(MoneyDeposited({ amount: 6 }), AccountClosed({})),
      /deposit decided MoneyDeposited, where MoneyDeposited, AccountClosed was expected[\s\S]*amount: 5[\s\S]*amount: 6/,
    ],
    [
      'other data',
      () =>
        given(account, opened)
          .when(deposit, { accountId: 'a', amount: 5 })
          .then(MoneyDeposited({ amount: 5, note: 'x' })),
      /deposit decided MoneyDeposited[\s\S]*note: ''[\s\S]*note: 'x'/,
    ],
    [
      'events in place of none',
      () => given(account, opened).when(closeAccount, { accountId: 'a' }).then(),
      /closeAccount decided AccountClosed, where no event was expected/,
    ],
    [
      'a refusal in place of events',
      () =>
        given(account)
          .when(deposit, { accountId: 'a', amount: 5 })
          .then(MoneyDeposited({ amount: 5 })),
      /deposit refused: account_not_open, where MoneyDeposited was expected[\s\S]*status: 'none'/,
    ],
    [
      'a refusal in place of no event',
      () => given(account).when(deposit, { accountId: 'a', amount: 5 }).then(),
      /deposit refused: account_not_open, where no event was expected/,
    ],
    [
      'events in place of a refusal',
      () => given(account, opened).when(deposit, { accountId: 'a', amount: 5 }).thenRejected('account_not_open'),
      /deposit decided MoneyDeposited, where the refusal account_not_open was expected/,
    ],
    [
      'another refusal',
      () => given(account).when(deposit, { accountId: 'a', amount: 5 }).thenRejected('no'),
      /deposit refused: account_not_open, where the refusal no was expected/,
    ],
    [
      'other details',
      () => given(account).when(deposit, { accountId: 'a', amount: 5 }).thenRejected('account_not_open', { status: 'closed' }),
      /account_not_open[\s\S]*none[\s\S]*closed/,
    ],
  ])('%s', (_what, failing, message) => {
    expect(failing).toThrow(message)
  })
})

describe('what is wrong', () => {
  const later: Schema<number, number> = { '~standard': { version: 1, vendor: 'test', validate: async () => ({ value: 1 }) } }
  const slow = aggregate('slow', { events: { Slow: later }, initialState: () => 0, evolve: { Slow: (state) => state } })
  const any = (decide: () => unknown) => account.command('any', { input: type<unknown>(), stream: () => 'a', decide: decide as () => [] })

  test('with the input, an event, or a command of another aggregate, is thrown', () => {
    expect(() => given(account).when(deposit, { accountId: 'a', amount: -5 })).toThrow(InvalidInputError)
    expect(() => given(account, MoneyDeposited({ amount: -1 }))).toThrow(InvalidEventError)
    expect(() =>
      given(account)
        .when(deposit, { accountId: 'a', amount: 1 })
        .then(MoneyDeposited({ amount: 0.5 })),
    ).toThrow(InvalidEventError)
    expect(() => given(slow).when(deposit as never, {})).toThrow(/deposit is a command of account, not of slow/)
  })

  test('with decide is thrown', () => {
    expect(() =>
      given(account).when(
        any(() => [{ type: 'MoneyDeposited', data: { amount: 'x' } }]),
        {},
      ),
    ).toThrow(/MoneyDeposited.amount/)
    expect(() =>
      given(account).when(
        any(() => Promise.resolve([])),
        {},
      ),
    ).toThrow(UsageError)
    expect(() =>
      given(account).when(
        any(() => opened),
        {},
      ),
    ).toThrow(/decide returns events/)
    expect(() =>
      given(account).when(
        any(() => reject('no')),
        {},
      ),
    ).not.toThrow()
    expect(() =>
      given(account).when(
        any(() => JSON.parse('{')),
        {},
      ),
    ).toThrow(SyntaxError)
  })

  test('with schemas that answer later is said', () => {
    expect(() => given(slow, slow.events.Slow(1))).toThrow(/answers with a promise/)
  })

  test('with an await is said', async () => {
    // @ts-expect-error it is no promise
    const awaited = async () => await given(account, opened).when(deposit, { accountId: 'a', amount: 1 })
    await expect(awaited).rejects.toThrow(/leave out the await/)
  })

  test('with an evolve that changes its state or its data is said', () => {
    const careless = (evolve: (state: { n: number }, data: { n: number }) => { n: number }) =>
      aggregate('careless', {
        events: { Counted: z.object({ n: z.int() }) },
        initialState: () => ({ n: 0 }),
        evolve: { Counted: evolve as never },
      })
    for (const evolve of [
      (state: { n: number }, data: { n: number }) => {
        state.n += data.n
        return state
      },
      (state: { n: number }, data: { n: number }) => {
        data.n++
        return { ...state }
      },
    ]) {
      const made = careless(evolve)
      expect(() => given(made, made.events.Counted({ n: 1 }))).toThrow(HandlerError)
      expect(() => given(made, made.events.Counted({ n: 1 }))).toThrow(/evolve of Counted changes what it was given/)
    }
  })
})
