import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type Browser, chromium, type Page } from 'playwright-core'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { chromiumMissing, chromiumPath } from '../../../test/support/addresses.ts'
import { built, type CataloguePage, Client } from './client.ts'
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

describe.skipIf(chromiumMissing())('the page of the shop', () => {
  const directory = mkdtempSync(join(tmpdir(), 'shop-page-'))
  const faults: string[] = []
  let example: RunningExample
  let browser: Browser
  let page: Page

  beforeAll(async () => {
    example = await startExample({ DATA_DIR: directory })
    await built(example.url)
    browser = await chromium.launch({ executablePath: chromiumPath, args: switches.map((name) => `--${name}`) })
    page = await (await browser.newContext({ viewport: { width: 1300, height: 900 } })).newPage()
    page.on('pageerror', (error) => faults.push(error.message))
    // A refusal is an answer that a browser notes as an error of its own.
    page.on('console', (message) => message.type() === 'error' && !/status of 422/.test(message.text()) && faults.push(message.text()))
    watchTokens(page)
    await page.goto(example.url)
  })
  afterAll(async () => {
    await browser?.close()
    await example?.end()
    rmSync(directory, { recursive: true, force: true })
  })

  /** Once it has written something, a page must send its last token with everything it asks. */
  function watchTokens(opened: Page): void {
    let token: string | undefined
    opened.on('response', (response) => {
      token = response.headers()['headwater-token'] ?? token
    })
    opened.on('request', (request) => {
      if (!token || !/\/(commands|queries)\//.test(request.url())) return
      if (request.headers()['headwater-token'] !== token) faults.push(`without its last token: ${request.url()}`)
    })
  }

  const go = (name: RegExp) => page.getByRole('navigation', { name: 'Pages' }).getByRole('link', { name }).click()
  const heading = (name: string) => page.getByRole('heading', { level: 1, name, exact: true }).waitFor()
  const facets = () => page.getByRole('navigation', { name: 'Narrow down' })
  const tiles = () => page.locator('.tile .tile-name').allTextContents()
  const row = (name: string) => page.locator('.shelf li', { hasText: name })

  async function addProduct(name: string, shelf: string, price: string, stock: string): Promise<void> {
    await page.getByLabel('Name', { exact: true }).fill(name)
    await page.getByLabel('Shelf').fill(shelf)
    await page.getByLabel('Price', { exact: true }).fill(price)
    await page.getByLabel('Stock', { exact: true }).fill(stock)
    await page.getByRole('button', { name: 'Add', exact: true }).last().click()
    await page.locator('.arrival-what', { hasText: name }).waitFor()
    await page.locator('.arrival .there').nth(2).waitFor()
  }

  it('begins empty, and takes products', async () => {
    await page.getByText('Nothing fits').waitFor()
    await go(/Admin/)
    await heading('Prices and stock')
    await addProduct('Copper kettle', 'Kitchen/Coffee', '45.50', '5')
    await addProduct('Paper knife', 'Study/Desk', '12', '1')
    await addProduct('<b>Bold</b> & "mug"', 'Kitchen/Table', '7.95', '100')
    expect(await page.locator('.arrival dt').allTextContents()).toStrictEqual([
      'catalogue · PostgreSQL',
      'product_cards · PostgreSQL',
      'stock_levels · PostgreSQL',
    ])
  })

  it('shows them, narrowed down and sorted', async () => {
    await go(/Shop/)
    await heading('Everything')
    await page.locator('.tile').nth(2).waitFor()
    await expect.poll(tiles).toStrictEqual(['<b>Bold</b> & "mug"', 'Copper kettle', 'Paper knife'])
    await facets()
      .getByRole('link', { name: /^Kitchen 2$/ })
      .click()
    await heading('Kitchen')
    await expect.poll(tiles).toStrictEqual(['<b>Bold</b> & "mug"', 'Copper kettle'])
    await facets()
      .getByRole('link', { name: /^€25 to €50 1$/ })
      .click()
    await page.locator('.tile', { hasText: 'Bold' }).waitFor({ state: 'detached' })
    await expect.poll(tiles).toStrictEqual(['Copper kettle'])
    await facets()
      .getByRole('link', { name: /^€25 to €50 1$/ })
      .click()
    await facets()
      .getByRole('link', { name: /^Kitchen 2$/ })
      .click()
    await heading('Everything')
    await page.getByLabel('Sort by').selectOption('-price')
    await page.locator('.tile', { hasText: 'Copper' }).first().waitFor()
    await expect.poll(tiles).toStrictEqual(['Copper kettle', 'Paper knife', '<b>Bold</b> & "mug"'])
  })

  it('finds by words', async () => {
    await page.getByLabel('Search products').fill('kett')
    await page.keyboard.press('Enter')
    await heading('“kett”')
    await expect.poll(tiles).toStrictEqual(['Copper kettle'])
  })

  it('sells: product, cart, order, history', async () => {
    await page.getByRole('link', { name: /Copper kettle/ }).click()
    await heading('Copper kettle')
    await page.getByLabel('Quantity', { exact: true }).fill('2')
    await page.getByRole('button', { name: 'Add to cart' }).click()
    await expect.poll(() => page.locator('#cart-count').textContent()).toBe('2')
    await go(/Cart/)
    await heading('Cart')
    expect(await page.locator('.total').textContent()).toBe('Total €91.00')
    await page.getByRole('button', { name: 'Order now' }).click()
    await heading('Orders')
    await page.locator('.orders').getByRole('link', { name: 'Copper kettle' }).waitFor()
    expect(await page.locator('.orders > li').count()).toBe(1)
    expect(await page.locator('.orders > li').first().textContent()).toMatch(/€91\.002 × Copper kettle€91\.00$/)
    expect(await page.locator('#cart-count').textContent()).toBe('')
    await page.locator('.orders').getByRole('link', { name: 'Copper kettle' }).click()
    await page.getByText('Only 3 left').waitFor()
  })

  it('says what is left when somebody was faster', async () => {
    const other = new Client(example.url)
    const { items } = await other.read<CataloguePage>('catalogue', { text: 'knife' })
    const productId = items[0]?.productId ?? ''
    await page.goto(`${example.url}/#/product/${productId}`)
    await heading('Paper knife')
    await page.getByRole('button', { name: 'Add to cart' }).click()
    await other.execute('placeOrder', {
      orderId: crypto.randomUUID(),
      customerId: crypto.randomUUID(),
      lines: [{ productId, quantity: 1 }],
    })
    await go(/Cart/)
    await page.getByRole('button', { name: 'Order now' }).click()
    await page.getByText('Sold out meanwhile').waitFor()
    await page.getByRole('button', { name: 'Remove Paper knife' }).click()
    await page.getByText('Your cart is empty').waitFor()
  })

  it('changes a price and the stock, and shows when each store has it', async () => {
    await go(/Admin/)
    await heading('Prices and stock')
    await row('Copper kettle').getByLabel('New price of Copper kettle').fill('39.90')
    await row('Copper kettle').getByRole('button', { name: 'Set' }).click()
    await page.locator('.arrival-what', { hasText: 'Copper kettle costs €39.90' }).waitFor()
    await page.locator('.arrival [data-model="catalogue"].there').waitFor()
    await page.locator('.arrival [data-model="product_cards"].there').waitFor()
    await row('Copper kettle').locator('.row-price', { hasText: '39.90' }).waitFor()
    await row('Copper kettle').getByLabel('Add to the stock of Copper kettle').fill('10')
    await row('Copper kettle').getByRole('button', { name: 'Add' }).click()
    await page.locator('.arrival [data-model="stock_levels"].there').waitFor()
    await row('Copper kettle').locator('.row-stock', { hasText: '13' }).waitFor()
    expect(await page.locator('.arrival dd').first().textContent()).toMatch(/^has it, after [\d.]+ m?s$/)
    await row('Copper kettle').getByLabel('New price of Copper kettle').fill('a lot')
    await row('Copper kettle').getByRole('button', { name: 'Set' }).click()
    await page.getByText('Write a price such as 12.50.').waitFor()
  })

  it('takes ratings', async () => {
    await row('Copper kettle').getByRole('link', { name: 'Copper kettle' }).click()
    await heading('Copper kettle')
    await page.getByText('No ratings yet').waitFor()
    await page.getByRole('button', { name: '4 stars' }).click()
    await page.getByText('4.0 of 5 from 1 rating').waitFor()
  })

  it('shows what people write as text, whatever it is', async () => {
    await page.goto(`${example.url}/#/?text=bold`)
    await heading('“bold”')
    await expect.poll(tiles).toStrictEqual(['<b>Bold</b> & "mug"'])
    expect(await page.locator('main b').count()).toBe(0)
  })

  it('shows how each read model is, and where', async () => {
    const lines = page.locator('#strip li')
    await expect.poll(() => lines.count()).toBe(6)
    const text = await page.locator('#strip [data-model="stock_levels"]').textContent()
    expect(text).toMatch(/^stock_levels\d+ ms lagPostgreSQL3 rows[\d.]+ [kM]B$/)
  })

  it('always sent its last token, and never did anything that its own policy or the browser complains of', () => {
    expect(faults).toStrictEqual([])
  })
})
