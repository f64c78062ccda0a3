import type { app as ledger } from '../app.ts'
import { ownerName } from './owners.ts'
import { Random } from './random.ts'

type App = typeof ledger

interface FillOptions {
  readonly print: (line: string) => void
  /** Asked between batches. */
  readonly isOver: () => boolean
}

/** How many inputs go through the bulk door in one call; between two calls the process has a look at everything else. */
const roundSize = 5000
const eventsOfTransfer = 5

/**
 * Fills the log with about `events` events: one account for every hundred, then rounds of deposits, withdrawals and some transfers. All of it goes through
 * the bulk door, so each is decided as any other; transfers are carried on by the reactions meanwhile.
 */
export async function fill(app: App, events: number, { print, isOver }: FillOptions): Promise<void> {
  const random = new Random(Date.now())
  const progress = new Progress(events, print)
  const accounts = Array.from({ length: Math.max(2, Math.ceil(events / 100)) }, () => random.uuid())
  const held = new Map(accounts.map((accountId) => [accountId, 0]))
  for (const part of parts(accounts)) {
    if (isOver()) return
    await app.executeMany(
      'openAccount',
      part.map((accountId) => ({ accountId, owner: ownerName(random) })),
    )
    progress.add(part.length, 'accounts')
  }
  while (!isOver() && progress.left > 0) {
    const count = Math.min(roundSize, progress.left)
    const deposits = Array.from({ length: Math.ceil(count * 0.6) }, () => move(held, random.pick(accounts), 1000 + random.below(500_000)))
    await app.executeMany('deposit', deposits)
    progress.add(deposits.length, 'deposits')
    const withdrawals = Array.from({ length: Math.ceil(count * 0.35) }, () => {
      const accountId = random.pick(accounts)
      // A quarter at most: transfers take from it too, and a refusal would end the batch.
      return move(held, accountId, -Math.min(1 + random.below(20_000), Math.floor((held.get(accountId) ?? 0) / 4)))
    }).filter(({ amount }) => amount > 0)
    await app.executeMany('withdraw', withdrawals)
    progress.add(withdrawals.length, 'withdrawals')
    const transfers = Array.from({ length: Math.ceil((count * 0.05) / eventsOfTransfer) }, () => oneTransfer(random, accounts, held))
    await app.executeMany('transfer', transfers)
    progress.add(transfers.length * eventsOfTransfer, 'transfers')
  }
  progress.end()
}

/** A movement, and what the account surely holds after it. */
function move(held: Map<string, number>, accountId: string, change: number): { readonly accountId: string; readonly amount: number } {
  held.set(accountId, (held.get(accountId) ?? 0) + change)
  return { accountId, amount: Math.abs(change) }
}

/** What arrives is not counted on: it arrives when it arrives. One from an empty account comes to nothing, as such transfers do. */
function oneTransfer(random: Random, accounts: readonly string[], held: Map<string, number>) {
  const at = random.below(accounts.length)
  const [from = '', to = ''] = [accounts[at], accounts[(at + 1 + random.below(accounts.length - 1)) % accounts.length]]
  const amount = Math.floor((held.get(from) ?? 0) / 10)
  if (amount > 0) move(held, from, -amount)
  return { transferId: random.uuid(), from, to, amount: Math.max(1, amount) }
}

function* parts<T>(items: readonly T[]): Generator<readonly T[]> {
  for (let start = 0; start < items.length; start += roundSize) yield items.slice(start, start + roundSize)
}

/** A line now and then: how many, how fast, how long yet. */
class Progress {
  readonly #events: number
  readonly #print: (line: string) => void
  readonly #beganAt = Date.now()
  #done = 0
  #printedAt = 0

  constructor(events: number, print: (line: string) => void) {
    this.#events = events
    this.#print = print
    print(`Filling the log with ${events.toLocaleString('en')} events.`)
  }

  get left(): number {
    return this.#events - this.#done
  }

  add(count: number, what: string): void {
    this.#done += count
    const now = Date.now()
    if (now - this.#printedAt < 1000) return
    this.#printedAt = now
    const rate = this.#done / Math.max(0.001, (now - this.#beganAt) / 1000)
    const percent = Math.min(100, Math.floor((100 * this.#done) / this.#events))
    this.#print(
      `  ${this.#done.toLocaleString('en').padStart(12)} events ${String(percent).padStart(3)} %  ${Math.round(rate).toLocaleString('en')}/s  ${Math.max(0, Math.ceil(this.left / rate))} s left  (${what})`,
    )
  }

  end(): void {
    const seconds = (Date.now() - this.#beganAt) / 1000
    this.#print(`  ${this.#done.toLocaleString('en')} events in ${seconds.toFixed(1)} s.`)
  }
}
