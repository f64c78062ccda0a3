import { type Browser, chromium, type Page } from 'playwright-core'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { chromiumMissing, chromiumPath } from '../../../test/support/addresses.ts'
import { TcpProxy } from '../../../test/support/tcp-proxy.ts'
import { built, Client } from './client.ts'
import { type RunningExample, startExample } from './running-example.ts'
import { onServers, type Place } from './targets.ts'

const target = onServers.at(-1)
const skip = chromiumMissing() || target?.skip || false

describe.skipIf(skip)('the page of the shop while a store does not answer', { timeout: 200_000 }, () => {
  const productId = crypto.randomUUID()
  const proxies = new Map<string, TcpProxy>()
  const faults: string[] = []
  let place: Place
  let example: RunningExample
  let browser: Browser
  let page: Page

  /** The same address by way of a proxy, which lets nothing pass while the store is down. */
  async function through(name: string, address: string): Promise<string> {
    const url = new URL(address)
    const proxy = await TcpProxy.open({ host: url.hostname, port: Number(url.port), raw: true })
    proxies.set(name, proxy)
    url.port = String(proxy.port)
    return url.href
  }

  beforeAll(async () => {
    if (!target) throw new Error('there are no targets')
    place = await target.prepare()
    const { MONGODB_URL = '', REDIS_URL = '' } = place.settings
    const settings = { MONGODB_URL: await through('MongoDB', MONGODB_URL), REDIS_URL: await through('Redis', REDIS_URL) }
    example = await startExample({ ...place.settings, ...settings })
    await built(example.url)
    const client = new Client(example.url)
    await client.execute('addProduct', { productId, name: 'Storm lamp', category: 'Outdoors/Camping', price: 3000, stock: 9 })
    await client.read('catalogueEntry', { productId })
    await client.read('product', { productId })
    browser = await chromium.launch({ executablePath: chromiumPath, args: ['--no-sandbox', '--disable-gpu', '--no-first-run'] })
    page = await browser.newPage()
    page.on('pageerror', (error) => faults.push(error.message))
    await page.goto(example.url)
    await page.locator('.tile', { hasText: 'Storm lamp' }).waitFor()
  }, 300_000)
  afterAll(async () => {
    await browser?.close()
    await example?.end()
    await Promise.all([...proxies.values()].map((proxy) => proxy.close()))
    await place?.remove()
  })

  function takeDown(name: string): void {
    const proxy = proxies.get(name)
    if (!proxy) throw new Error(`${name} has no proxy`)
    proxy.judge = () => 'cut-before'
    proxy.cut()
  }

  function bringBack(name: string): void {
    const proxy = proxies.get(name)
    if (proxy) proxy.judge = () => 'forward'
  }

  const notice = (text: string) => page.locator('.notice', { hasText: text }).first().waitFor({ timeout: 60_000 })
  const strip = (readModel: string) => page.locator(`#strip [data-model="${readModel}"].down`, { hasText: 'does not answer' })
  const go = (path: string) => page.goto(`${example.url}/#/${path}`)

  it('without MongoDB: searching waits and says so; products, their prices and changes of them go on', async () => {
    takeDown('MongoDB')
    await strip('catalogue').waitFor({ timeout: 60_000 })
    await go('?text=lamp')
    await notice('MongoDB does not answer: the shelves and searching wait. Everything else goes on.')
    await go(`product/${productId}`)
    await page.getByRole('heading', { level: 1, name: 'Storm lamp' }).waitFor()
    await notice('MongoDB does not answer: ratings wait.')
    await page.getByRole('button', { name: 'Add to cart' }).click()
    await go('admin')
    await notice('MongoDB does not answer: finding products waits.')
    await page.getByLabel('Name', { exact: true }).fill('Gas stove')
    await page.getByLabel('Price', { exact: true }).fill('50')
    await page.getByRole('button', { name: 'Add', exact: true }).last().click()
    await page.locator('.arrival [data-model="product_cards"].there').waitFor({ timeout: 60_000 })
    await page.locator('.arrival [data-model="catalogue"].down', { hasText: 'MongoDB does not answer' }).waitFor({ timeout: 60_000 })
    // What the store lacks is waited for before it is asked: that it is down must be said nevertheless.
    await go('?text=stove')
    await notice('MongoDB does not answer: the shelves and searching wait. Everything else goes on.')
    const { readModels } = (await (await fetch(`${example.url}/status`)).json()) as { readModels: object[] }
    expect(readModels).toContainEqual(expect.objectContaining({ name: 'catalogue', available: false, rows: 1 }))
    expect(JSON.stringify(readModels)).not.toContain('127.0.0.1')
  })

  it('without Redis: a product is shown from the catalogue, and the cart keeps what is in it', async () => {
    bringBack('MongoDB')
    await page.locator('.tile', { hasText: 'Gas stove' }).waitFor({ timeout: 60_000 })
    takeDown('Redis')
    await strip('stock_levels').waitFor({ timeout: 60_000 })
    await go(`product/${productId}`)
    await page.getByRole('heading', { level: 1, name: 'Storm lamp' }).waitFor({ timeout: 60_000 })
    await notice('Redis does not answer: price and stock are those of the catalogue.')
    await go('cart')
    await notice('Redis does not answer: names and prices wait, and what is in your cart is kept.')
    bringBack('Redis')
    // By itself: nobody loads the page again.
    await page.locator('.cart', { hasText: 'Storm lamp' }).waitFor({ timeout: 60_000 })
    expect(faults).toStrictEqual([])
  })
})
