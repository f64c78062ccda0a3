import { randomUUID } from 'node:crypto'
import type { Database } from 'headwater'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { ShopClient } from '../src/load/shop-client.ts'
import { Random } from '../src/seed/random.ts'
import { built, type CatalogueItem, Client, type OrderPage, type Product } from './client.ts'
import { type RunningExample, startExample } from './running-example.ts'
import { onServers, type Place } from './targets.ts'

interface Line {
  readonly productId: string
  readonly quantity: number
}

/** What the tables and the log say, read behind the application's back. */
async function readTruth(database: Database, productIds: readonly string[]) {
  const stock = await database.query<{ id: string; quantity: number }>('select product_id as id, quantity from shop.stock')
  const orders = await database.query<{ id: string; lines: readonly Line[] }>(
    `select substr(stream, strpos(stream, '-') + 1) as id, data -> 'lines' as lines from headwater_shop.event where type = 'OrderPlaced'`,
  )
  return {
    stock: new Map(stock.rows.map(({ id, quantity }) => [id, quantity])),
    orders: orders.rows.filter(({ lines }) => lines.some(({ productId }) => productIds.includes(productId))),
  }
}

describe.each(onServers)('64 clients at 4 processes buy the last items, on $name', { timeout: 120_000 }, ({ skip, prepare }) => {
  const processCount = 4
  const clientCount = 64
  const stockOfEach = 40
  let place: Place
  const shops: RunningExample[] = []

  beforeAll(async () => {
    if (skip) return
    place = await prepare()
    shops.push(await startExample(place.settings))
    shops.push(...(await Promise.all(Array.from({ length: processCount - 1 }, () => startExample(place.settings)))))
    await Promise.all(shops.map(({ url }) => built(url)))
  }, 120_000)
  afterAll(async () => {
    await Promise.all(shops.map((shop) => shop.end()))
    await place?.remove()
  })

  it.skipIf(skip)('sells the last three to three of them', async () => {
    const seller = new Client(shops[0]?.url ?? '')
    const productId = randomUUID()
    await seller.execute('addProduct', { productId, name: 'The very last', category: 'Sale', price: 100, stock: 3 })
    const answers = await Promise.all(
      Array.from({ length: clientCount }, async (_, i) => {
        const order = { orderId: randomUUID(), customerId: randomUUID(), lines: [{ productId, quantity: 1 }] }
        const response = await new Client(shops[i % processCount]?.url ?? '').command('placeOrder', order)
        const { code, details } = (await response.json()) as { readonly code?: string; readonly details?: unknown }
        return { status: response.status, ...(code && { code, details }) }
      }),
    )
    const refused = { status: 422, code: 'out_of_stock', details: [{ productId, wanted: 1, left: 0 }] }
    expect(answers.filter(({ status }) => status === 200)).toHaveLength(3)
    expect(answers.filter(({ status }) => status !== 200)).toStrictEqual(Array(clientCount - 3).fill(refused))
    await seller.execute('restock', { productId, quantity: 1 })
    expect(await seller.read('product', { productId })).toMatchObject({ stock: 1 })
  })

  it.skipIf(skip)('sells each once, and every read model shows it in the end', async () => {
    const random = new Random(64)
    const clients = Array.from({ length: clientCount }, (_, i) => {
      const url = shops[i % processCount]?.url ?? ''
      return { url, client: new ShopClient(url), customerId: randomUUID(), placed: new Map<string, readonly Line[]>(), refused: 0 }
    })
    const productIds = Array.from({ length: 4 }, () => randomUUID())
    const seller = new Client(shops[0]?.url ?? '')
    for (const productId of productIds) {
      await seller.execute('addProduct', { productId, name: 'The last one', category: 'Sale', price: 100, stock: stockOfEach })
    }

    let selling = true
    const lowest: number[] = []
    const watching = (async () => {
      while (selling) {
        for (const productId of productIds)
          lowest.push((await new Client(shops[1]?.url ?? '').read<Product | null>('product', { productId }))?.stock ?? 0)
      }
    })()
    await Promise.all(
      clients.map(async (buyer) => {
        while (selling && buyer.refused < 3) {
          // In any order of products, which is the order in which careless locks would be taken.
          const lines = random
            .shuffle(productIds)
            .slice(0, 1 + random.below(3))
            .map((productId) => ({ productId, quantity: 1 + random.below(2) }))
          const orderId = randomUUID()
          const { status, code } = await buyer.client.execute('placeOrder', { orderId, customerId: buyer.customerId, lines })
          if (status === 200) buyer.placed.set(orderId, lines)
          else {
            expect([status, code]).toStrictEqual([422, 'out_of_stock'])
            buyer.refused++
          }
        }
      }),
    ).finally(() => {
      selling = false
    })
    await watching
    // What nobody wanted in such quantities, the first one takes piece by piece.
    const [first] = clients
    for (const productId of productIds) {
      for (let status = 200; first && status === 200; ) {
        const [orderId, lines] = [randomUUID(), [{ productId, quantity: 1 }]]
        status = (await first.client.execute('placeOrder', { orderId, customerId: first.customerId, lines })).status
        if (status === 200) first.placed.set(orderId, lines)
      }
    }
    expect(Math.min(...lowest)).toBeGreaterThanOrEqual(0)

    const database = place.open()
    const truth = await readTruth(database, productIds).finally(() => database.close())
    const placed = new Map(clients.flatMap((buyer) => [...buyer.placed]))
    expect(
      new Map(truth.orders.map(({ id, lines }) => [id, lines.map(({ productId, quantity }) => ({ productId, quantity }))])),
    ).toStrictEqual(placed)
    for (const productId of productIds) {
      const sold = [...placed.values()].flat().reduce((sum, line) => sum + (line.productId === productId ? line.quantity : 0), 0)
      expect(sold).toBe(stockOfEach)
      expect(truth.stock.get(productId)).toBe(0)
    }

    // Each client reads its own writes, from its own process; together that is everything.
    for (const { client, customerId, placed } of clients) {
      await client.query('product', { productId: productIds[0] })
      await client.query('catalogueEntry', { productId: productIds[0] })
      const seen = new Set<string>()
      for (let after: string | null | undefined; after !== null; ) {
        const page: OrderPage = await client.query<OrderPage>('orderHistory', { customerId, after })
        for (const { orderId } of page.items) seen.add(orderId)
        after = page.next
      }
      expect(seen).toStrictEqual(new Set(placed.keys()))
    }
    for (const { url } of shops) {
      const reader = new Client(url)
      for (const productId of productIds) {
        const left = truth.stock.get(productId) ?? 0
        expect(await reader.read<Product>('product', { productId })).toMatchObject({ stock: left, price: 100 })
        expect(await reader.read<CatalogueItem>('catalogueEntry', { productId })).toMatchObject({ stock: left, available: left > 0 })
      }
    }
  })
})
