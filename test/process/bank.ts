/**
 * A bank for tests of faults: each event carries what its writer sent it for and what it was decided on, so that what is lost, doubled or decided
 * on something old shows in the log itself.
 */
import { aggregate, command, projection, query, reaction, reject, type Store, type as typeOf } from 'headwater'
import { z } from 'zod'

interface Account {
  readonly open: boolean
  readonly balance: number
  /** How many events it is made of. */
  readonly events: number
}

const sent = z.string()

export const account = aggregate('account', {
  events: {
    Opened: z.object({ sent, base: z.int(), owner: z.string() }),
    Moved: z.object({ sent, base: z.int(), amount: z.int(), to: z.string() }),
    Closed: z.object({ sent, base: z.int(), left: z.int() }),
  },
  initialState: (): Account => ({ open: false, balance: 0, events: 0 }),
  evolve: {
    Opened: (state) => ({ open: true, balance: 0, events: state.events + 1 }),
    Moved: (state, { amount }) => ({ ...state, balance: state.balance + amount, events: state.events + 1 }),
    Closed: (state) => ({ open: false, balance: 0, events: state.events + 1 }),
  },
})

/** What a command over tables emits. */
export const journal = aggregate('journal', {
  events: { Noted: z.object({ sent, part: z.int() }) },
  initialState: () => ({}),
  evolve: { Noted: (state) => state },
})

const stream = ({ id }: { readonly id: string }) => id

const open = account.command('open', {
  input: z.object({ id: z.string(), sent, owner: z.string() }),
  stream,
  decide: (state, { sent, owner }, { events }) =>
    state.open ? reject('open_already') : [events.Opened({ sent, base: state.events, owner })],
})

/** Several events at once, so that one that took effect in part would show. */
const move = account.command('move', {
  input: z.object({ id: z.string(), sent, amounts: z.array(z.int()), to: z.string() }),
  stream,
  decide(state, { sent, amounts, to }, { events }) {
    if (!state.open) return reject('not_open')
    if (state.balance + amounts.reduce((sum, amount) => sum + amount, 0) < 0) return reject('overdrawn')
    return amounts.map((amount, i) => events.Moved({ sent, base: state.events + i, amount, to }))
  },
})

const close = account.command('close', {
  input: z.object({ id: z.string(), sent }),
  stream,
  decide: (state, { sent }, { events }) =>
    state.open ? [events.Closed({ sent, base: state.events, left: state.balance })] : reject('not_open'),
})

/** Writes a row and emits events, or refuses after it did both. Its table is {@link noteTable}. */
const note = command('note', {
  input: z.object({ id: z.string(), sent, parts: z.int(), refused: z.boolean() }),
  async execute({ id, sent, parts, refused }, { sql, emit }) {
    await sql`insert into noted (sent, parts) values (${sent}, ${parts})`
    emit(journal, id, ...Array.from({ length: parts }, (_, part) => ({ type: 'Noted' as const, data: { sent, part } })))
    if (refused) throw reject('not_worth_it')
  },
})

/** A note for every account that was opened. */
export const welcome = reaction('welcome', {
  from: [account],
  on: { Opened: ({ id }) => note({ id: 'welcome', sent: `welcome ${id}`, parts: 1, refused: false }) },
})

export const noteTable = 'create table noted (sent text not null, parts integer not null)'
export const commands = { open, move, close, note }

/** With a row schema that says what its members are. */
const balanceRow = z.object({
  owner: z.string(),
  balance: z.int(),
  rich: z.boolean(),
  last: z.string().nullable(),
  seen: z.array(z.int()),
})

/** An account's row: what was seen last is in it, so that an event folded twice or left out shows. */
function balanceModel<Name extends string>(name: Name, { update = 'async', store }: { update?: 'sync' | 'async'; store?: Store } = {}) {
  return projection(name, {
    from: [account],
    row: balanceRow,
    on: {
      Opened: (_none, { data }) => ({ owner: data.owner, balance: 0, rich: false, last: null, seen: [data.base] }),
      Moved: (row, { data }) =>
        row && {
          ...row,
          balance: row.balance + data.amount,
          rich: row.balance + data.amount > 500,
          last: data.to,
          seen: [...row.seen, data.base].slice(-10),
        },
      Closed: () => null,
    },
    indexes: { byOwner: ['owner'] },
    update,
    ...(store && { store }),
  })
}

/** By keys that are no streams, several for one event. */
function moveModel<Name extends string>(name: Name, update: 'sync' | 'async') {
  return projection(name, {
    from: [account, journal],
    row: typeOf<{ readonly count: number; readonly sum: number; readonly last: string }>(),
    key: (event) => {
      if (event.type === 'Moved') return [event.data.to, event.data.amount < 0 ? 'out' : 'in']
      return event.type === 'Noted' ? [`note ${event.data.part}`] : []
    },
    on: {
      Moved: (row, { data, stream: from }) => ({ count: (row?.count ?? 0) + 1, sum: (row?.sum ?? 0) + data.amount, last: from }),
      Noted: (row, { data }) => ({ count: (row?.count ?? 0) + 1, sum: 0, last: data.sent }),
    },
    update,
  })
}

export const balances = balanceModel('balances')
export const nowBalances = balanceModel('now_balances', { update: 'sync' })
export const moves = moveModel('moves', 'async')
export const nowMoves = moveModel('now_moves', 'sync')

/** The read models of the write database. */
export const homeModels = { balances, nowBalances, moves, nowMoves }

/** Balances in another store. */
export const farModel = (store: Store) => balanceModel('far_balances', { store })

export const balanceOf = query('balanceOf', {
  input: z.object({ id: z.string() }),
  reads: { balances },
  execute: ({ id }, { balances }) => balances.get(id),
})

/** What the log table says of an event. */
export interface LoggedEvent {
  readonly position: number
  readonly id: string
  /** With its aggregate before it. */
  readonly stream: string
  readonly version: number
  readonly type: string
  readonly data: {
    readonly sent: string
    readonly base: number
    readonly part: number
    readonly owner: string
    readonly amount: number
    readonly to: string
  }
}

/** A row as a read model must hold it. */
export interface ExpectedRow {
  readonly row: unknown
  readonly position: number
  readonly version: number | null
}

type Rows = Readonly<Record<string, ExpectedRow>>

/** What the read models must hold, told by nothing but the words of their definitions, one event after the other. */
export function expectedRows(events: readonly LoggedEvent[]): { readonly balances: Rows; readonly moves: Rows } {
  const balances = new Map<string, ExpectedRow & { readonly row: { readonly balance: number; readonly seen: readonly number[] } }>()
  const moves = new Map<string, ExpectedRow & { readonly row: { readonly count: number; readonly sum: number } }>()
  for (const { stream, position, version, type, data } of events) {
    const id = stream.slice(stream.indexOf('-') + 1)
    const row = balances.get(id)?.row
    if (type === 'Opened')
      balances.set(id, { row: { owner: data.owner, balance: 0, rich: false, last: null, seen: [data.base] } as never, position, version })
    if (type === 'Closed') balances.delete(id)
    if (type === 'Moved' && row) {
      const balance = row.balance + data.amount
      const seen = [...row.seen, data.base].slice(-10)
      balances.set(id, { row: { ...row, balance, rich: balance > 500, last: data.to, seen } as never, position, version })
    }
    const keys = type === 'Moved' ? [data.to, data.amount < 0 ? 'out' : 'in'] : type === 'Noted' ? [`note ${data.part}`] : []
    for (const key of keys) {
      const { count = 0, sum = 0 } = moves.get(key)?.row ?? {}
      const next = { count: count + 1, sum: type === 'Moved' ? sum + data.amount : 0, last: type === 'Moved' ? id : data.sent }
      moves.set(key, { row: next, position, version: null })
    }
  }
  return { balances: Object.fromEntries(balances), moves: Object.fromEntries(moves) }
}
