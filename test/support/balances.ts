import type { Store } from 'headwater'
import { z } from 'zod'
import { projection } from '../../src/projection/projection.ts'
import { account } from './ledger.ts'

export interface BalancesOptions {
  readonly version?: number
  readonly update?: 'sync' | 'async'
  readonly factor?: number
  readonly keyed?: boolean
  readonly store?: Store
  /** Whether its handler fails at an amount of 13, as a bug that a new deployment mends. Default: it does. */
  readonly isUnlucky?: () => boolean
}

/** What each account of the ledger holds; in `factor` times what it holds another version shows. */
export function balances(options: BalancesOptions = {}) {
  const { factor = 1, isUnlucky = () => true } = options
  return projection('balances', {
    from: [account],
    row: z.object({ owner: z.string(), balance: z.int() }),
    ...(options.keyed ? { key: ({ stream }: { stream: string }) => stream } : {}),
    on: {
      Opened: (_none, { data }) => ({ owner: data.owner, balance: 0 }),
      Deposited: (row, { data }) => {
        if (isUnlucky() && data.amount === 13) throw new Error('unlucky')
        return row && { ...row, balance: row.balance + factor * data.amount }
      },
      Closed: () => null,
    },
    indexes: { byOwner: ['owner'] },
    update: options.update ?? 'async',
    version: options.version ?? 1,
    ...(options.store && { store: options.store }),
  })
}
