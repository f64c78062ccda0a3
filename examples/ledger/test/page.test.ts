import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type Browser, chromium, type Page } from 'playwright-core'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { chromiumMissing, chromiumPath } from '../../../test/support/addresses.ts'
import { built } from './client.ts'
import { type RunningExample, startExample } from './running-example.ts'

const switches = [
  'no-sandbox',
  'disable-gpu',
  'disable-quic',
  'no-first-run',
  'disable-background-networking',
  'disable-component-update',
  'disable-sync',
]

describe.skipIf(chromiumMissing())('the page of the ledger', () => {
  const directory = mkdtempSync(join(tmpdir(), 'ledger-page-'))
  const faults: string[] = []
  let example: RunningExample
  let browser: Browser
  let page: Page

  beforeAll(async () => {
    example = await startExample({ DATA_DIR: directory })
    await built(example.url)
    browser = await chromium.launch({ executablePath: chromiumPath, args: switches.map((name) => `--${name}`) })
    page = await open()
  })
  afterAll(async () => {
    await browser?.close()
    await example?.end()
    rmSync(directory, { recursive: true, force: true })
  })

  async function open(): Promise<Page> {
    const opened = await (await browser.newContext({ viewport: { width: 1440, height: 900 } })).newPage()
    opened.on('pageerror', (error) => faults.push(error.message))
    // A refusal is an answer that a browser notes as an error of its own.
    opened.on(
      'console',
      (message) => message.type() === 'error' && !/status of (422|503)/.test(message.text()) && faults.push(message.text()),
    )
    await opened.goto(example.url)
    return opened
  }

  const heading = (name: string) => page.getByRole('heading', { level: 1, name, exact: true }).waitFor()
  const held = (amount: string) => page.locator('.held strong', { hasText: amount }).waitFor()
  const lines = () => page.locator('.statement tbody tr[data-kind]')

  async function openAccount(owner: string): Promise<void> {
    await page.getByLabel('Open an account').fill(owner)
    await page.getByRole('button', { name: 'Open', exact: true }).click()
    await heading(owner)
  }

  async function payIn(amount: string): Promise<void> {
    await page.locator('#cash-amount').fill(amount)
    await page.getByRole('button', { name: 'Deposit' }).click()
  }

  it('begins empty, with books that balance', async () => {
    await page.getByText('An empty book').waitFor()
    await page.getByText('The books balance').waitFor()
  })

  it('opens an account, pays in and out, and shows both at once', async () => {
    await openAccount('Inés Vale')
    await held('0.00')
    await payIn('1,234.50')
    await held('1,234.50')
    await page.locator('#cash-amount').fill('34.5')
    await page.getByRole('button', { name: 'Withdraw' }).click()
    await held('1,200.00')
    await lines().nth(1).waitFor()
    expect(await lines().allTextContents()).toStrictEqual([
      expect.stringMatching(/Deposit1,234\.501,234\.50$/),
      expect.stringMatching(/Withdrawal34\.501,200\.00$/),
    ])
    expect(await page.locator('.closing .amount').textContent()).toBe('1,200.00')
  })

  it('says why something cannot be', async () => {
    await page.locator('#cash-amount').fill('5000')
    await page.getByRole('button', { name: 'Withdraw' }).click()
    await page.getByText('There is not enough on the account.').waitFor()
    await page.locator('#cash-amount').fill('a lot')
    await page.getByRole('button', { name: 'Deposit' }).click()
    await page.getByText('Write an amount such as 12.50').first().waitFor()
    await page.getByRole('button', { name: 'Close this account' }).click()
    await page.getByText('Only an empty account can be closed').waitFor()
    await held('1,200.00')
  })

  it('sends money, and follows it until it has arrived', async () => {
    await openAccount('Tomasz')
    await page.getByRole('link', { name: 'Inés Vale' }).first().click()
    await heading('Inés Vale')
    await page.getByLabel('To', { exact: true }).fill('Tom')
    await page.getByRole('button', { name: 'Tomasz' }).click()
    await page.locator('#transfer-amount').fill('200')
    await page.getByRole('button', { name: 'Send' }).click()
    await page.locator('.sent li[data-status="completed"]').waitFor()
    await held('1,000.00')
    await page.locator('.statement tr[data-kind="transfer_out"]').waitFor()
    await page.getByRole('link', { name: 'Tomasz' }).first().click()
    await heading('Tomasz')
    await held('200.00')
    await page.locator('.statement tr[data-kind="transfer_in"]').waitFor()
    await page.getByText('The books balance').waitFor()
  })

  it('finds accounts by their owner', async () => {
    await page.getByLabel('Find an account by its owner').fill('In')
    await page.getByRole('heading', { name: 'Found' }).waitFor()
    await page.locator('.accounts li', { hasText: 'Tomasz' }).waitFor({ state: 'detached' })
    await page.locator('.accounts').getByRole('link', { name: 'Inés Vale' }).click()
    await heading('Inés Vale')
    await page.getByLabel('Find an account by its owner').fill('')
    await page.getByRole('heading', { name: 'Largest accounts' }).waitFor()
  })

  it('looks back', async () => {
    await lines().first().getByRole('link').click()
    await page.getByText(/^As of .*Back to now$/).waitFor()
    await held('1,234.50')
    expect(await lines().count()).toBe(1)
    expect(await page.locator('.forms').count()).toBe(0)
    await page.getByLabel('As of').fill('0')
    await page.getByRole('button', { name: 'Look back' }).click()
    await page.getByText('It had not been opened then.').waitFor()
    await page.getByRole('link', { name: 'Back to now' }).click()
    await held('1,000.00')
  })

  it('shows what people write as text, whatever it is', async () => {
    const owner = '<img src=x onerror=alert(1)> &amp; <b>'
    await openAccount(owner)
    await page.locator('.accounts .owner', { hasText: owner }).waitFor()
    expect(await page.locator('main img, .accounts img').count()).toBe(0)
  })

  it('shows the report being made, without a stop', async () => {
    await page.locator('#report', { hasText: 'REPORT=1' }).waitFor()
    const { port } = new URL(example.url)
    await example.end()
    example = await startExample({ DATA_DIR: directory, REPORT: '1', PORT: port })
    await page.locator('#report .figures').waitFor()
    expect(await page.locator('#report .figures').textContent()).toBe('Paid in1,234.50Paid out34.50Moved200.00Accounts opened3')
  })

  it('never did anything that its own policy or the browser complains of', () => {
    // While the server was away the browser noted that too.
    expect(faults.filter((fault) => !/ERR_(CONNECTION_REFUSED|EMPTY_RESPONSE|CONNECTION_RESET)/.test(fault))).toStrictEqual([])
  })
})
