import { randomUUID } from 'node:crypto'
import type { Database } from 'headwater'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { Random } from '../src/seed/random.ts'
import { built, type CatalogueItem, Client, type OrderPage, type Product } from './client.ts'
import { type RunningExample, startExample } from './running-example.ts'
import { onServers, type Place } from './targets.ts'

interface Line {
  readonly productId: string
  readonly quantity: number
}

/** What the tables and the log say, read behind the application's back. */
async function readTruth(database: Database) {
  const stock = await database.query<{ id: string; quantity: number }>('select product_id as id, quantity from shop.stock')
  const orders = await database.query<{ id: string; lines: readonly Line[] }>(
    `select substr(stream, strpos(stream, '-') + 1) as id, data -> 'lines' as lines from headwater_shop.event where type = 'OrderPlaced'`,
  )
  return { stock: new Map(stock.rows.map(({ id, quantity }) => [id, quantity])), orders: orders.rows }
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
  })
  afterAll(async () => {
    await Promise.all(shops.map((shop) => shop.end()))
    await place?.remove()
  })

  it.skipIf(skip)('sells each once, and every read model shows it in the end', async () => {
    const random = new Random(64)
    const clients = Array.from({ length: clientCount }, (_, i) => {
      const url = shops[i % processCount]?.url ?? ''
      return { url, client: new Client(url), customerId: randomUUID(), placed: new Map<string, readonly Line[]>(), refused: 0 }
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
        while (buyer.refused < 3) {
          // In any order of products, which is the order in which careless locks would be taken.
          const lines = random
            .shuffle(productIds)
            .slice(0, 1 + random.below(3))
            .map((productId) => ({ productId, quantity: 1 + random.below(2) }))
          const orderId = randomUUID()
          const response = await buyer.client.command('placeOrder', { orderId, customerId: buyer.customerId, lines })
          const answer = (await response.json()) as { code?: string }
          if (response.ok) buyer.placed.set(orderId, lines)
          else {
            expect([response.status, answer.code]).toStrictEqual([422, 'out_of_stock'])
            buyer.refused++
          }
        }
      }),
    )
    selling = false
    await watching
    expect(Math.min(...lowest)).toBeGreaterThanOrEqual(0)

    const database = place.open()
    const truth = await readTruth(database).finally(() => database.close())
    const placed = new Map(clients.flatMap((buyer) => [...buyer.placed]))
    expect(
      new Map(truth.orders.map(({ id, lines }) => [id, lines.map(({ productId, quantity }) => ({ productId, quantity }))])),
    ).toStrictEqual(placed)
    for (const productId of productIds) {
      const sold = [...placed.values()].flat().reduce((sum, line) => sum + (line.productId === productId ? line.quantity : 0), 0)
      expect(sold).toBeGreaterThan(stockOfEach - 2)
      expect(truth.stock.get(productId)).toBe(stockOfEach - sold)
    }

    // Each client reads its own writes, from its own process; together that is everything.
    for (const { client, customerId, placed } of clients) {
      await client.read('product', { productId: productIds[0] })
      await client.read('catalogueEntry', { productId: productIds[0] })
      const seen = new Set<string>()
      for (let after: string | null | undefined; after !== null; ) {
        const page: OrderPage = await client.read<OrderPage>('orderHistory', { customerId, after })
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
