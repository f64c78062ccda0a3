import { describe, expect, test } from 'vitest'
import { z } from 'zod'
import { projection } from '../../src/projection/projection.ts'
import { givenProjection } from '../../src/testing/given-projection.ts'
import { account } from '../support/ledger.ts'

const balances = projection('balances', {
  from: [account],
  row: z.object({ owner: z.string(), balance: z.int() }),
  on: {
    Opened: (_none, { data }) => ({ owner: data.owner, balance: 0 }),
    Deposited: (row, { data }) => {
      if (data.amount === 13) throw new Error('unlucky')
      return row && { ...row, balance: row.balance + data.amount }
    },
    Closed: () => null,
  },
})
const monthly = projection('monthly', {
  from: [account],
  row: z.object({ events: z.int() }),
  key: (event) => ({ stream: event.stream, month: event.time.slice(0, 7) }),
  on: { Deposited: (row) => ({ events: (row?.events ?? 0) + 1 }) },
})
const { Opened, Deposited, Closed } = account.events

describe('a specification of a projection', () => {
  test('rows by key', () => {
    givenProjection(balances)
      .events(
        { ...Opened({ owner: 'ann' }), stream: 'a' },
        { ...Deposited({ amount: 5 }), stream: 'a' },
        { ...Opened({ owner: 'bob' }), stream: 'b' },
        { ...Closed({}), stream: 'b' },
      )
      .then({ a: { owner: 'ann', balance: 5 } })
    givenProjection(balances).events().then({})
  })

  test('composite keys', () => {
    givenProjection(monthly)
      .events(
        { ...Deposited({ amount: 5 }), time: '2026-01-31T23:59:59.999999Z' },
        { ...Deposited({ amount: 5 }), time: '2026-02-01T00:00:00Z' },
      )
      .then([
        [{ month: '2026-01', stream: 'stream' }, { events: 1 }],
        [{ stream: 'stream', month: '2026-02' }, { events: 1 }],
      ])
  })

  test('says what is otherwise', () => {
    const folded = givenProjection(balances).events(Opened({ owner: 'ann' }))
    expect(() => folded.then({ stream: { owner: 'ann', balance: 1 } })).toThrow()
    expect(() => folded.then({})).toThrow()
    expect(() => folded.thenParked('stream')).toThrow(/not parked/)
    const parked = givenProjection(balances).events(Opened({ owner: 'ann' }), Deposited({ amount: 13 }))
    parked.thenParked('stream', /unlucky/)
    expect(() => parked.then({ stream: { owner: 'ann', balance: 0 } })).toThrow(/parked: unlucky/)
    expect(() => givenProjection(balances).events({ type: 'Renamed', data: {} })).toThrow(/none of its aggregates/)
  })
})
