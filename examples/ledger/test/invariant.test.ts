import { randomUUID } from 'node:crypto'
import { setTimeout as pause } from 'node:timers/promises'
import type { Database } from 'headwater'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { Random } from '../src/seed/random.ts'
import { type Account, type Books, built, Client } from './client.ts'
import { type RunningExample, startExample } from './running-example.ts'
import { type Place, targets } from './targets.ts'

interface Entry {
  readonly position: number
  readonly type: string
  readonly stream: string
  readonly version: number
  readonly data: { readonly amount?: number; readonly balance?: number; readonly transferId?: string }
}

/** What is in the log, read behind the application's back. */
async function readLog(database: Database): Promise<readonly Entry[]> {
  const { rows } = await database.query<Entry>(
    `select position, type, substr(stream, strpos(stream, '-') + 1) as stream, version, data from headwater_ledger.event order by position`,
  )
  return rows
}

/** Adds up what the log says, entry by entry, and holds it against itself at every position. Gives what accounts hold at the end. */
function audit(entries: readonly Entry[]): ReadonlyMap<string, number> {
  const held = new Map<string, number>()
  const inTransfer = new Map<string, number>()
  let [balances, moving, deposited, withdrawn] = [0, 0, 0, 0]
  for (const [i, { position, type, stream, data }] of entries.entries()) {
    expect(position).toBe(i + 1)
    const { amount = 0, balance, transferId = '' } = data
    if (balance !== undefined) {
      balances += balance - (held.get(stream) ?? 0)
      held.set(stream, balance)
      expect(balance).toBeGreaterThanOrEqual(0)
    }
    if (type === 'MoneyDeposited') deposited += amount
    if (type === 'MoneyWithdrawn') withdrawn += amount
    if (type === 'TransferSent') {
      expect(inTransfer.has(transferId)).toBe(false)
      inTransfer.set(transferId, amount)
      moving += amount
    }
    if (type === 'TransferReceived' || type === 'TransferReturned') {
      expect(inTransfer.get(transferId)).toBe(amount)
      inTransfer.set(transferId, 0)
      moving -= amount
    }
    if (balances + moving !== deposited - withdrawn)
      throw new Error(`position ${position} (${type}): out by ${balances + moving - deposited + withdrawn}`)
  }
  expect(moving).toBe(0)
  return held
}

describe.each(targets)('under load, on $name', { timeout: 120_000 }, ({ name, skip, prepare }) => {
  let example: RunningExample
  let place: Place
  const writers = 16
  const commandsOfWriter = name === 'PGlite' ? 20 : 40

  beforeAll(async () => {
    if (skip) return
    place = await prepare()
    example = await startExample(place.settings)
    await built(example.url)
  })
  afterAll(async () => {
    await example?.end()
    await place?.remove()
  })

  it.skipIf(skip)('balances plus what is in transfer are deposits less withdrawals, at every moment and at every position', async () => {
    const random = new Random(7)
    const reader = new Client(example.url)
    const accounts = Array.from({ length: 12 }, () => randomUUID())
    await Promise.all(accounts.map((accountId) => reader.execute('openAccount', { accountId, owner: 'Somebody' })))
    const transfers: string[] = []

    /** One command, right or wrong: refusals are part of the load. */
    async function act(client: Client): Promise<void> {
      const [accountId, to] = [random.pick(accounts), random.chance(0.1) ? randomUUID() : random.pick(accounts)]
      const amount = 1 + random.below(2000)
      const chance = random.fraction()
      const transferId = randomUUID()
      const [command, input] =
        chance < 0.4
          ? ['deposit', { accountId, amount }]
          : chance < 0.6
            ? ['withdraw', { accountId, amount }]
            : chance < 0.95
              ? ['transfer', { transferId, from: accountId, to, amount }]
              : ['closeAccount', { accountId }]
      const response = await client.command(command as string, input)
      expect([200, 422]).toContain(response.status)
      if (command === 'transfer' && response.ok) transfers.push(transferId)
    }

    let writing = true
    let looks = 0
    const watching = (async () => {
      while (writing) {
        const { balances, inTransfer, deposited, withdrawn } = await new Client(example.url).read<Books>('books')
        expect(balances + inTransfer).toBe(deposited - withdrawn)
        looks++
      }
    })()
    await Promise.all(
      Array.from({ length: writers }, async () => {
        const client = new Client(example.url)
        for (let i = 0; i < commandsOfWriter; i++) await act(client)
      }),
    )
    writing = false
    await watching
    expect(looks).toBeGreaterThan(0)

    while ((await reader.read<Books>('books')).transfersInProgress > 0) await pause(50)
    const shown = new Map<string, number>()
    for (const accountId of accounts) shown.set(accountId, (await reader.read<Account>('balance', { accountId })).balance)
    expect(await example.end()).toBe(0)

    const database = place.open()
    const entries = await readLog(database).finally(() => database.close())
    const held = audit(entries)
    for (const accountId of accounts) expect(shown.get(accountId)).toBe(held.get(accountId) ?? 0)
    const endings = entries.filter(({ type }) => type === 'TransferCompleted' || type === 'TransferRefunded')
    expect(new Set(endings.map(({ stream }) => stream))).toStrictEqual(new Set(transfers))
    expect(endings).toHaveLength(transfers.length)
  })
})
