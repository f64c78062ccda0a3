import { query } from 'headwater'
import { z } from 'zod'
import { asOf, readAt } from './past.ts'
import { balances, richest as richestAccounts, transferStates, transfersInProgress } from './read-models.ts'
import { statements } from './statements.ts'

const id = z.uuid()
const limit = z.int().min(1).max(100).default(20)
const next = z.string().max(500).nullish()
const month = z.string().regex(/^\d{4}-(0[1-9]|1[0-2])$/, 'a month such as 2024-03 is expected')

/** An account as a client gets it. */
export interface AccountItem {
  readonly accountId: string
  readonly owner: string
  readonly balance: number
  readonly status: 'open' | 'closed'
}

/** An account, now or as it was. */
export const balance = query('balance', {
  input: z.object({ accountId: id, asOf }),
  reads: { balances },
  async execute({ accountId, asOf }, reads): Promise<AccountItem | null> {
    const row = await readAt(asOf, reads.balances, (reader) => reader.get(accountId))
    return row ? toAccount(row) : null
  },
})

/** Accounts in the order of their owners' names, or those whose owner's name begins with `text`. Closed ones too. */
export const accounts = query('accounts', {
  input: z.object({ text: z.string().max(50).default(''), limit, after: next }),
  reads: { balances },
  async execute({ text, limit, after }, { balances }) {
    const begun = text === '' ? {} : { where: { owner: { gte: text, lt: `${text}\u{10ffff}` } } }
    const page = await balances.find({ ...begun, orderBy: { owner: 'asc' }, limit, after })
    return { items: page.items.map(toAccount), next: page.next }
  },
})

/** A month of an account, now or as it was; for a month in which nothing happened, what it held through it. Null before the account was opened. */
export const statement = query('statement', {
  input: z.object({ accountId: id, month, asOf }),
  reads: { statements },
  async execute({ accountId, month, asOf }, reads) {
    return await readAt(asOf, reads.statements, async (reader) => {
      const found = await reader.get({ account: accountId, month })
      if (found) return { accountId, month, opening: found.opening, closing: found.closing, lines: found.lines }
      if (month > new Date().toISOString().slice(0, 7)) return null
      const where = { account_id: accountId, month: { lt: month } }
      const before = await reader.find({ where, orderBy: { month: 'desc' }, limit: 1 })
      const held = before.items[0]?.closing
      return held === undefined ? null : { accountId, month, opening: held, closing: held, lines: [] }
    })
  },
})

export const richest = query('richest', {
  input: z.object({ limit }),
  reads: { richestAccounts },
  async execute({ limit }, { richestAccounts }) {
    const { items } = await richestAccounts.find({ orderBy: { balance: 'desc' }, limit })
    return { items: items.map(({ account_id, owner, balance }) => ({ accountId: account_id, owner, balance })) }
  },
})

export const transferStatus = query('transferStatus', {
  input: z.object({ transferId: id }),
  reads: { transferStates },
  async execute({ transferId }, { transferStates }) {
    const row = await transferStates.get(transferId)
    return row ? { transferId, status: row.status } : null
  },
})

/** Transfers that have not come to their end, with the owners of both accounts; undefined where there is no such account. */
export const transfersUnderWay = query('transfersUnderWay', {
  input: z.object({ limit }),
  reads: { transfersInProgress, balances },
  async execute({ limit }, { transfersInProgress, balances, sql }) {
    const { items } = await transfersInProgress.find({ limit })
    const ids = [...new Set(items.flatMap(({ sender, receiver }) => [sender, receiver]))]
    const owners = new Map((await balances.getMany(ids)).map(({ account_id, owner }) => [account_id, owner]))
    const [all] = await sql<{ readonly count: number }>`select count(*) as count from ${transfersInProgress}`
    return {
      inProgress: all?.count ?? 0,
      items: items.map(({ transfer_id, sender, receiver, amount, in_transit }) => ({
        transferId: transfer_id,
        from: owners.get(sender) ?? null,
        to: owners.get(receiver) ?? null,
        amount,
        inTransit: in_transit,
      })),
    }
  },
})

/** All accounts together, in cents. */
export interface Books {
  readonly accounts: number
  readonly balances: number
  readonly inTransfer: number
  readonly transfersInProgress: number
  readonly deposited: number
  readonly withdrawn: number
}

/** The books, in one statement and so in one snapshot: balances plus what is in transfer are deposits less withdrawals, at every moment. */
export const books = query('books', {
  input: z.object({}),
  reads: { balances, transfersInProgress },
  async execute(_input, { balances, transfersInProgress, sql }): Promise<Books> {
    const [found] = await sql<Books>`
      select held.*, moving.* from (
        select count(*) as accounts, coalesce(sum(balance), 0)::bigint as balances,
          coalesce(sum(deposited), 0)::bigint as deposited, coalesce(sum(withdrawn), 0)::bigint as withdrawn
        from ${balances}
      ) held, (
        select coalesce(sum(in_transit), 0)::bigint as "inTransfer", count(*) as "transfersInProgress" from ${transfersInProgress}
      ) moving`
    if (!found) throw new Error('a sum without an answer')
    return found
  },
})

function toAccount({
  account_id,
  owner,
  balance,
  status,
}: {
  readonly account_id: string
  readonly owner: string
  readonly balance: number
  readonly status: 'open' | 'closed'
}): AccountItem {
  return { accountId: account_id, owner, balance, status }
}
