import { randomUUID } from 'node:crypto'
import { setTimeout as pause } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Account, type Books, built, Client, type Statement, type Transfer } from './client.ts'
import { type RunningExample, startExample } from './running-example.ts'
import { type Place, targets } from './targets.ts'

describe.each(targets)('the ledger on $name', ({ skip, prepare }) => {
  let example: RunningExample
  let client: Client
  let place: Place

  beforeAll(async () => {
    if (skip) return
    place = await prepare()
    example = await startExample(place.settings)
    await built(example.url)
    client = new Client(example.url)
  })
  afterAll(async () => {
    await example?.end()
    await place?.remove()
  })

  const test = it.skipIf(skip)
  const month = () => new Date().toISOString().slice(0, 7)

  async function opened(owner: string, amount = 0): Promise<string> {
    const accountId = randomUUID()
    await client.execute('openAccount', { accountId, owner })
    if (amount > 0) await client.execute('deposit', { accountId, amount })
    return accountId
  }
  const balanceOf = async (accountId: string) => (await client.read<Account>('balance', { accountId })).balance

  /** Sends money and waits for the transfer's end: the steps are others' writes, which no token names. */
  async function transferred(from: string, to: string, amount: number): Promise<Transfer['status']> {
    const transferId = randomUUID()
    await client.execute('transfer', { transferId, from, to, amount })
    return await ended(transferId)
  }
  async function ended(transferId: string): Promise<Transfer['status']> {
    for (;;) {
      const { status } = await client.read<Transfer>('transferStatus', { transferId })
      if (status !== 'requested') return status
      await pause(10)
    }
  }

  async function refusal(name: string, input: unknown): Promise<string> {
    const response = await client.command(name, input)
    expect(response.status).toBe(422)
    expect(response.headers.get('Content-Type')).toBe('application/problem+json')
    return ((await response.json()) as { code: string }).code
  }

  test('shows a balance exactly, in the same moment', async () => {
    const accountId = await opened('Ada Obi')
    expect(await client.read('balance', { accountId })).toStrictEqual({ accountId, owner: 'Ada Obi', balance: 0, status: 'open' })
    await client.execute('deposit', { accountId, amount: 1250 })
    await client.execute('withdraw', { accountId, amount: 300 })
    expect(await client.read('balance', { accountId })).toStrictEqual({ accountId, owner: 'Ada Obi', balance: 950, status: 'open' })
    expect(await client.read('balance', { accountId: randomUUID() })).toBeNull()
  })

  test('prints a statement, line by line', async () => {
    const [accountId, other] = [await opened('Kofi', 5000), await opened('Mei')]
    await client.execute('withdraw', { accountId, amount: 700 })
    expect(await transferred(accountId, other, 1000)).toBe('completed')
    expect(await transferred(other, accountId, 400)).toBe('completed')
    const statement = await client.read<Statement>('statement', { accountId, month: month() })
    expect(statement).toStrictEqual({
      accountId,
      month: month(),
      opening: 0,
      closing: 3700,
      lines: [
        { kind: 'deposit', amount: 5000, balance: 5000 },
        { kind: 'withdrawal', amount: 700, balance: 4300 },
        { kind: 'transfer_out', amount: 1000, balance: 3300 },
        { kind: 'transfer_in', amount: 400, balance: 3700 },
      ].map((line) => ({ time: expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z$/), ...line })),
    })
    expect(await client.read('statement', { accountId, month: '2020-01' })).toBeNull()
    expect(await client.read('statement', { accountId, month: '2999-01' })).toBeNull()
    expect(await client.read('statement', { accountId: randomUUID(), month: month() })).toBeNull()
  })

  test('answers a transfer when it is requested, and it happens whole', async () => {
    const [from, to] = [await opened('From', 1000), await opened('To')]
    const transferId = randomUUID()
    await client.execute('transfer', { transferId, from, to, amount: 600 })
    expect(await client.read('transferStatus', { transferId })).toStrictEqual({
      transferId,
      status: expect.stringMatching(/^(requested|completed)$/),
    })
    expect(await ended(transferId)).toBe('completed')
    expect([await balanceOf(from), await balanceOf(to)]).toStrictEqual([400, 600])
    expect(await client.read('transferStatus', { transferId: randomUUID() })).toBeNull()
  })

  test('or not at all: nothing to send, nobody to send it, nobody to receive it', async () => {
    const [poor, rich, closed] = [await opened('Poor', 10), await opened('Rich', 1000), await opened('Closed')]
    await client.execute('closeAccount', { accountId: closed })
    expect(await transferred(poor, rich, 11)).toBe('refunded')
    expect(await transferred(randomUUID(), rich, 1)).toBe('refunded')
    expect(await transferred(closed, rich, 1)).toBe('refunded')
    expect(await transferred(rich, randomUUID(), 100)).toBe('refunded')
    expect(await transferred(rich, closed, 200)).toBe('refunded')
    expect([await balanceOf(poor), await balanceOf(rich), await balanceOf(closed)]).toStrictEqual([10, 1000, 0])
    const { lines } = await client.read<Statement>('statement', { accountId: rich, month: month() })
    expect(lines.map(({ kind, balance }) => [kind, balance])).toStrictEqual([
      ['deposit', 1000],
      ['transfer_out', 900],
      ['refund', 1000],
      ['transfer_out', 800],
      ['refund', 1000],
    ])
    const books = await client.read<Books>('books')
    expect([books.inTransfer, books.transfersInProgress]).toStrictEqual([0, 0])
  })

  test('lists the richest, without those who have gone', async () => {
    const owners = await Promise.all([8_000_000_000, 9_000_000_000, 7_000_000_000].map((amount, i) => opened(`Rich ${i}`, amount)))
    const { items } = await client.read<{ items: Account[] }>('richest', { limit: 3 })
    expect(items).toStrictEqual([
      { accountId: owners[1], owner: 'Rich 1', balance: 9_000_000_000 },
      { accountId: owners[0], owner: 'Rich 0', balance: 8_000_000_000 },
      { accountId: owners[2], owner: 'Rich 2', balance: 7_000_000_000 },
    ])
    await client.execute('withdraw', { accountId: owners[1], amount: 9_000_000_000 })
    await client.execute('closeAccount', { accountId: owners[1] })
    expect((await client.read<{ items: Account[] }>('richest', { limit: 2 })).items.map(({ owner }) => owner)).toStrictEqual([
      'Rich 0',
      'Rich 2',
    ])
    expect(await client.read('balance', { accountId: owners[1] })).toMatchObject({ status: 'closed', balance: 0 })
  })

  test('finds accounts by the beginning of their owners’ names, page by page', async () => {
    const names = ['Quill Ann', 'Quill Bo', 'Quill Cy']
    for (const name of names.toReversed()) await opened(name)
    const first = await client.read<{ items: Account[]; next: string | null }>('accounts', { text: 'Quill', limit: 2 })
    const second = await client.read<{ items: Account[]; next: string | null }>('accounts', { text: 'Quill', limit: 2, after: first.next })
    expect([...first.items, ...second.items].map(({ owner }) => owner)).toStrictEqual(names)
    expect(second.next).toBeNull()
  })

  test('refuses what cannot be', async () => {
    const [accountId, other] = [await opened('Once', 100), await opened('Other')]
    const nobody = randomUUID()
    expect(await refusal('openAccount', { accountId, owner: 'Twice' })).toBe('already_exists')
    expect(await refusal('withdraw', { accountId, amount: 101 })).toBe('insufficient_funds')
    expect(await refusal('closeAccount', { accountId })).toBe('balance_not_zero')
    for (const name of ['deposit', 'withdraw']) expect(await refusal(name, { accountId: nobody, amount: 1 })).toBe('account_not_open')
    expect(await refusal('closeAccount', { accountId: nobody })).toBe('account_not_open')
    await client.execute('closeAccount', { accountId: other })
    expect(await refusal('deposit', { accountId: other, amount: 1 })).toBe('account_not_open')
    expect(await refusal('closeAccount', { accountId: other })).toBe('account_not_open')
    expect(await refusal('openAccount', { accountId: other, owner: 'Again' })).toBe('already_exists')
    const transfer = { transferId: randomUUID(), from: accountId, to: nobody, amount: 1 }
    await client.execute('transfer', transfer)
    expect(await refusal('transfer', transfer)).toBe('already_exists')
    expect(await balanceOf(accountId)).toBeGreaterThanOrEqual(99)
  })

  test('refuses input that is not what it asks for', async () => {
    const id = randomUUID()
    for (const amount of [0, -1, 1.5, '1', null, 1e15])
      expect(await refusal('deposit', { accountId: id, amount }), String(amount)).toBe('invalid_input')
    expect(await refusal('openAccount', { accountId: 'x', owner: 'x' })).toBe('invalid_input')
    expect(await refusal('openAccount', { accountId: id, owner: ' ' })).toBe('invalid_input')
    expect(await refusal('transfer', { transferId: id, from: id, to: id, amount: 1 })).toBe('invalid_input')
    for (const input of [{ accountId: id, month: '2024-13' }, { accountId: id, month: '2024' }, { accountId: id }])
      expect((await client.query('statement', input)).status).toBe(422)
    expect((await client.query('richest', { limit: 0 })).status).toBe(422)
  })

  test('keeps the steps of a transfer to itself', async () => {
    const accountId = await opened('Honest')
    for (const name of ['sendTransfer', 'receiveTransfer', 'returnTransfer', 'deliverTransfer', 'completeTransfer', 'refundTransfer']) {
      const response = await client.command(name, { accountId, transferId: randomUUID(), from: accountId, to: accountId, amount: 1 })
      expect([response.status, ((await response.json()) as { code: string }).code]).toStrictEqual([404, 'unknown_command'])
    }
    expect(await balanceOf(accountId)).toBe(0)
  })

  test('answers a command that is sent twice with one key once', async () => {
    const accountId = await opened('Key')
    const key = { 'Idempotency-Key': randomUUID() }
    expect((await client.command('deposit', { accountId, amount: 5 }, key)).status).toBe(200)
    const again = await client.command('deposit', { accountId, amount: 5 }, key)
    expect([again.status, again.headers.get('Idempotency-Replayed')]).toStrictEqual([200, 'true'])
    expect(await balanceOf(accountId)).toBe(5)
  })

  test('tells a balance and a statement as of a moment and as of a position', async () => {
    const accountId = await opened('Past')
    for (const amount of [100, 20, 3]) await client.execute('deposit', { accountId, amount })
    const { lines } = await client.read<Statement>('statement', { accountId, month: month() })
    const [first, second] = lines
    expect(await client.read('balance', { accountId, asOf: first?.time })).toMatchObject({ balance: 100, status: 'open' })
    expect(await client.read('balance', { accountId, asOf: second?.time })).toMatchObject({ balance: 120 })
    expect((await client.read<Statement>('statement', { accountId, month: month(), asOf: second?.time })).lines).toStrictEqual([
      first,
      second,
    ])
    expect(await client.read('balance', { accountId, asOf: '2020-01-01T00:00:00Z' })).toBeNull()
    expect(await client.read('balance', { accountId, asOf: '0' })).toBeNull()
    for (const asOf of ['yesterday', '-1', '1.5', '', '999999999'])
      expect((await client.query('balance', { accountId, asOf })).status).toBe(422)
  })

  test('serves the page with a strict policy', async () => {
    const page = await fetch(example.url)
    expect(await page.text()).toContain('<title>Tally</title>')
    expect(page.headers.get('Content-Security-Policy')).toContain("default-src 'self'")
    expect((await fetch(`${example.url}/package.json`)).status).toBe(404)
    expect((await client.query('books')).headers.get('Headwater-Lag-Ms')).toMatch(/^\d+$/)
  })

  test('keeps everything through kill -9, and ends the transfers that were under way', async () => {
    const [from, to] = [await opened('Lasting', 100_000), await opened('Receiver')]
    const transfers = Array.from({ length: 40 }, () => ({ transferId: randomUUID(), from, to, amount: 1000 }))
    await Promise.all(transfers.map((transfer) => client.execute('transfer', transfer)))
    await example.end('SIGKILL')
    example = await startExample(place.settings)
    await built(example.url)
    client = new Client(example.url)
    for (const { transferId } of transfers) expect(await ended(transferId)).toBe('completed')
    expect([await balanceOf(from), await balanceOf(to)]).toStrictEqual([60_000, 40_000])
    expect(await example.end()).toBe(0)
    example = await startExample(place.settings)
    client = new Client(example.url)
    expect(await balanceOf(to)).toBe(40_000)
  })

  test('adds the monthly report to what is there, while commands go on', async () => {
    expect((await client.query('monthlyReport', { month: month() })).status).toBe(404)
    const accountId = await opened('Before the report', 4321)
    await example.end()
    example = await startExample({ ...place.settings, REPORT: '1' })
    client = new Client(example.url)
    await client.execute('deposit', { accountId, amount: 9 })
    for (let answer = await client.query('monthlyReport', { month: month() }); answer.status !== 200; ) {
      expect([answer.status, ((await answer.json()) as { code: string }).code]).toStrictEqual([503, 'building'])
      await client.execute('deposit', { accountId, amount: 1 })
      answer = await client.query('monthlyReport', { month: month() })
    }
    const books = await client.read<Books>('books')
    const report = await client.read<{ deposits: number; withdrawals: number; transfers: number; accounts: number }>('monthlyReport', {
      month: month(),
    })
    expect(report).toStrictEqual({
      month: month(),
      deposits: books.deposited,
      withdrawals: books.withdrawn,
      transfers: expect.any(Number),
      accounts: books.accounts,
    })
    expect(report.transfers).toBeGreaterThan(0)
    expect(await client.read('monthlyReport', { month: '2020-01' })).toStrictEqual({
      month: '2020-01',
      deposits: 0,
      withdrawals: 0,
      transfers: 0,
      accounts: 0,
    })
  })
})
