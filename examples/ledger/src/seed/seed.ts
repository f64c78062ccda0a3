import type { app as ledger } from '../app.ts'
import { ownerName } from './owners.ts'
import { Random } from './random.ts'

type App = typeof ledger

const accountCount = 120
const seedNumber = 4001

/** Fills an empty ledger with accounts to look at, through the same commands as everybody's. Money moves between them by transfers, as it would. */
export async function seedLedger(app: App, print: (line: string) => void): Promise<void> {
  const { result } = await app.query('books', {}, { latest: true, waitMs: 30_000 })
  if (result.accounts > 0) return
  print('The ledger is empty: opening some accounts to look at (SEED=none skips this).')
  const random = new Random(seedNumber)
  const accounts = Array.from({ length: accountCount }, () => ({ accountId: random.uuid(), owner: ownerName(random) }))
  await app.executeMany('openAccount', accounts)
  const held = new Map<string, number>()
  const deposits = accounts.flatMap(({ accountId }) =>
    Array.from({ length: 1 + random.below(5) }, () => {
      const amount = wage(random)
      held.set(accountId, (held.get(accountId) ?? 0) + amount)
      return { accountId, amount }
    }),
  )
  await app.executeMany('deposit', random.shuffle(deposits))
  const withdrawals = Array.from({ length: 4 * accountCount }, () => {
    const { accountId } = random.pick(accounts)
    const amount = Math.min(bill(random), Math.floor((held.get(accountId) ?? 0) / 3))
    held.set(accountId, (held.get(accountId) ?? 0) - amount)
    return { accountId, amount }
  }).filter(({ amount }) => amount > 0)
  await app.executeMany('withdraw', withdrawals)
  const transfers = Array.from({ length: 2 * accountCount }, () => {
    const [from, to] = random.shuffle(accounts)
    return { transferId: random.uuid(), from: from?.accountId ?? '', to: to?.accountId ?? '', amount: bill(random) }
  })
  await app.executeMany('transfer', transfers)
  print(
    `  ${accounts.length} accounts, ${deposits.length} deposits, ${withdrawals.length} withdrawals; ${transfers.length} transfers are on their way`,
  )
}

/** Some hundreds to some thousands, now and then a lot. */
function wage(random: Random): number {
  return 20_000 + Math.round(random.exponential(180_000)) + (random.chance(0.03) ? 2_000_000 : 0)
}

/** What things cost: most of them little, and often just under a round sum. */
function bill(random: Random): number {
  const amount = 350 + Math.round(random.exponential(9_000))
  return random.chance(0.3) ? Math.ceil(amount / 100) * 100 - 1 : amount
}
