import { randomUUID } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { built, type CatalogueItem, type CataloguePage, Client, type OrderPage, type Product } from './client.ts'
import { type RunningExample, startExample } from './running-example.ts'
import { type Place, targets } from './targets.ts'

describe.each(targets)('the shop on $name', ({ skip, prepare }) => {
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

  async function added(name: string, category: string, price: number, stock = 10): Promise<string> {
    const productId = randomUUID()
    await client.execute('addProduct', { productId, name, category, price, stock })
    return productId
  }
  const product = (productId: string) => client.read<Product | null>('product', { productId })
  const browse = (input: object = {}) => client.read<CataloguePage>('catalogue', input)
  const namesOf = (items: readonly CatalogueItem[]) => items.map(({ name }) => name)

  async function refusal(name: string, input: unknown): Promise<{ readonly code: string; readonly details?: unknown }> {
    const response = await client.command(name, input)
    expect(response.status).toBe(422)
    expect(response.headers.get('Content-Type')).toBe('application/problem+json')
    return (await response.json()) as { code: string }
  }

  /** Every page of a query, each asked with the cursor of the one before. */
  async function everyPage(input: object): Promise<readonly CatalogueItem[]> {
    const items: CatalogueItem[] = []
    for (let after: string | null | undefined; after !== null; ) {
      const page = await browse({ ...input, after })
      expect(page.items.length).toBeLessThanOrEqual((input as { limit: number }).limit)
      items.push(...page.items)
      after = page.next
    }
    return items
  }

  test('shows a product exactly, in the same moment', async () => {
    const productId = await added('Kettle', 'Kitchen/Coffee', 4550, 3)
    const shown = { productId, name: 'Kettle', category: 'Kitchen/Coffee', price: 4550, stock: 3 }
    expect(await product(productId)).toStrictEqual(shown)
    expect(await product(productId.toUpperCase())).toStrictEqual(shown)
    expect(await product(randomUUID())).toBeNull()
    await client.execute('changePrice', { productId, price: 3999 })
    await client.execute('restock', { productId, quantity: 4 })
    expect(await product(productId)).toStrictEqual({ ...shown, price: 3999, stock: 7 })
    const { items } = await browse({ text: 'kettle' })
    expect(items).toStrictEqual([{ ...shown, price: 3999, stock: 7, available: true }])
    expect(await client.read('products', { productIds: [randomUUID(), productId] })).toStrictEqual({
      items: [{ ...shown, price: 3999, stock: 7 }],
    })
  })

  test('takes orders, and lists them newest first', async () => {
    const [cup, pot] = [await added('Cup', 'Table', 900), await added('Pot', 'Table', 2500, 2)]
    const [customerId, orderId, second] = [randomUUID(), randomUUID(), randomUUID()]
    const lines = [
      { productId: cup, quantity: 3 },
      { productId: pot, quantity: 2 },
    ]
    await client.execute('placeOrder', { orderId, customerId, lines })
    await client.execute('changePrice', { productId: cup, price: 1000 })
    await client.execute('placeOrder', { orderId: second, customerId, lines: [{ productId: cup, quantity: 1 }] })
    expect([(await product(cup))?.stock, (await product(pot))?.stock]).toStrictEqual([6, 0])
    expect((await browse({ text: 'pot' })).items[0]).toMatchObject({ productId: pot, stock: 0, available: false })
    const first = {
      orderId,
      placedAt: expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z$/),
      total: 3 * 900 + 2 * 2500,
      lines: [
        { productId: cup, quantity: 3, price: 900 },
        { productId: pot, quantity: 2, price: 2500 },
      ],
    }
    const history = await client.read<OrderPage>('orderHistory', { customerId })
    expect(history.items.map(({ orderId }) => orderId)).toStrictEqual([second, orderId])
    expect(history.items[1]).toStrictEqual(first)
    expect(history.next).toBeNull()
    const page = await client.read<OrderPage>('orderHistory', { customerId, limit: 1 })
    expect(await client.read('orderHistory', { customerId, limit: 1, after: page.next })).toStrictEqual({ items: [first], next: null })
  })

  test('refuses what is not in stock, says what is left, and takes nothing', async () => {
    const [many, few] = [await added('Many', 'Stock', 100, 50), await added('Few', 'Stock', 100, 2)]
    const orderId = randomUUID()
    const lines = [
      { productId: many, quantity: 5 },
      { productId: few, quantity: 2 },
      { productId: few, quantity: 1 },
    ]
    const { code, details } = await refusal('placeOrder', { orderId, customerId: randomUUID(), lines })
    expect([code, details]).toStrictEqual(['out_of_stock', [{ productId: few, wanted: 3, left: 2 }]])
    expect([(await product(many))?.stock, (await product(few))?.stock]).toStrictEqual([50, 2])
    // The refusal has not used the order's id up.
    await client.execute('placeOrder', { orderId, customerId: randomUUID(), lines: lines.slice(0, 2) })
    expect((await product(few))?.stock).toBe(0)
  })

  test('refuses what cannot be', async () => {
    const productId = await added('Once', 'Refused', 100)
    const orderId = randomUUID()
    const order = { orderId, customerId: randomUUID(), lines: [{ productId, quantity: 1 }] }
    await client.execute('placeOrder', order)
    expect((await refusal('placeOrder', order)).code).toBe('already_exists')
    expect((await refusal('addProduct', { productId, name: 'Twice', category: 'Refused', price: 1, stock: 1 })).code).toBe('already_exists')
    const unknown = randomUUID()
    expect((await refusal('changePrice', { productId: unknown, price: 1 })).code).toBe('unknown_product')
    expect((await refusal('restock', { productId: unknown, quantity: 1 })).code).toBe('unknown_product')
    const withUnknown = { orderId: randomUUID(), customerId: randomUUID(), lines: [{ productId: unknown, quantity: 1 }] }
    expect((await refusal('placeOrder', withUnknown)).code).toBe('unknown_product')
    for (const [name, input] of [
      ['addProduct', { productId: randomUUID(), name: ' ', category: 'a', price: 1, stock: 1 }],
      ['addProduct', { productId: randomUUID(), name: 'a', category: '/', price: 1, stock: 1 }],
      ['addProduct', { productId: randomUUID(), name: 'a', category: 'a', price: -1, stock: 1 }],
      ['changePrice', { productId, price: 1.5 }],
      ['restock', { productId, quantity: 0 }],
      ['placeOrder', { orderId: randomUUID(), customerId: randomUUID(), lines: [] }],
    ] as const) {
      expect((await refusal(name, input)).code).toBe('invalid_input')
    }
  })

  test('a command that is sent again takes effect once', async () => {
    const productId = await added('Twice', 'Again', 100, 10)
    const order = { orderId: randomUUID(), customerId: randomUUID(), lines: [{ productId, quantity: 4 }] }
    const key = { 'Idempotency-Key': randomUUID() }
    const answers = await Promise.all([client.command('placeOrder', order, key), client.command('placeOrder', order, key)])
    expect(answers.map(({ status }) => status)).toStrictEqual([200, 200])
    expect(answers.filter(({ headers }) => headers.has('Idempotency-Replayed'))).toHaveLength(1)
    expect((await product(productId))?.stock).toBe(6)
  })

  test('narrows the catalogue down, in every order, page by page', async () => {
    const made: { name: string; category: string; price: number }[] = []
    const letters = ['B', 'é', 'a', 'Z', 'm', 'C', 'b']
    for (const [i, letter] of letters.entries()) {
      for (const category of ['Narrow/One', 'Narrow/Two', 'Narrow']) {
        const one = { name: `${letter} thing ${i % 3}`, category, price: [0, 999, 1000, 2499, 2500, 70_000, 200_000][i] ?? 0 }
        await added(one.name, one.category, one.price)
        made.push(one)
      }
    }
    const sorts = { name: byName, relevance: byName, price: byPrice, '-price': (a: Priced, b: Priced) => byPrice(b, a) }
    const places = ['Narrow', 'Narrow/One']
    const ranges = [{}, { minPrice: 999, maxPrice: 2500 }, { minPrice: 1000, maxPrice: 2499 }, { minPrice: 60_000 }]
    for (const [sort, compare] of Object.entries(sorts)) {
      for (const category of places) {
        for (const range of ranges) {
          const { minPrice = 0, maxPrice = Number.POSITIVE_INFINITY } = range as { minPrice?: number; maxPrice?: number }
          const expected = made
            .filter((one) => (one.category === category || category === 'Narrow') && one.price >= minPrice && one.price <= maxPrice)
            .sort(compare)
          for (const text of [undefined, 'THING']) {
            const found = await everyPage({ category, ...range, sort, text, limit: 4 })
            expect(found.map(keyOf(sort))).toStrictEqual(expected.map(keyOf(sort)))
            expect(new Set(found.map(({ productId }) => productId)).size).toBe(expected.length)
          }
        }
      }
    }
  })

  test('counts what else could be chosen', async () => {
    for (const price of [500, 999, 1000, 30_000]) await added(`Faceted ${price}`, 'Facets/Left', price)
    for (const price of [999, 2000]) await added(`Faceted ${price}`, 'Facets/Right', price)
    const own = ({ facets: { categories } }: CataloguePage) => categories.filter(({ value }) => value.startsWith('Facets'))
    for (const text of [undefined, 'facet']) {
      const chosen = await browse({ text, category: 'Facets/Left', minPrice: 999, maxPrice: 1500 })
      expect(namesOf(chosen.items)).toStrictEqual(['Faceted 1000', 'Faceted 999'])
      // Of prices: what the category leaves; of categories: what the prices leave.
      expect(chosen.facets.prices).toStrictEqual([
        { from: 0, to: 999, count: 2 },
        { from: 1000, to: 2499, count: 1 },
        { from: 25_000, to: 49_999, count: 1 },
      ])
      expect(own(chosen)).toStrictEqual([
        { value: 'Facets/Left', count: 2 },
        { value: 'Facets/Right', count: 1 },
      ])
      const department = await browse({ text, category: 'Facets' })
      expect(own(department)).toStrictEqual([
        { value: 'Facets/Left', count: 4 },
        { value: 'Facets/Right', count: 2 },
      ])
      expect(department.facets.prices.reduce((sum, { count }) => sum + count, 0)).toBe(6)
    }
    const [first] = (await browse({ text: 'Faceted 30000' })).items
    await client.execute('changePrice', { productId: first?.productId, price: 600 })
    expect((await browse({ category: 'Facets/Left' })).facets.prices).toStrictEqual([
      { from: 0, to: 999, count: 3 },
      { from: 1000, to: 2499, count: 1 },
    ])
  })

  test('finds by words of the name, in any order and unfinished, without accents', async () => {
    await added('Crème brûlée torch', 'Words', 100)
    await added('Torch light', 'Words', 200)
    await added('Torchlight', 'Words', 300)
    const find = async (text: string) => namesOf((await browse({ text, category: 'Words' })).items)
    expect(await find('brulee crem')).toStrictEqual(['Crème brûlée torch'])
    expect(await find('torch')).toStrictEqual(['Crème brûlée torch', 'Torch light', 'Torchlight'])
    expect(await find('TORCH l')).toStrictEqual(['Torch light'])
    expect(await find('torch nothing')).toStrictEqual([])
    expect(await find('!?')).toStrictEqual([])
    expect((await find(' ')).length).toBe(3)
  })

  test('finds nothing beyond the highest price, and refuses no bound', async () => {
    await added('Costly', 'Bounds', 99_999_999)
    const find = async (input: object) => namesOf((await browse({ category: 'Bounds', ...input })).items)
    expect(await find({ minPrice: 99_999_999, maxPrice: 1_000_000_000 })).toStrictEqual(['Costly'])
    for (const minPrice of [100_000_000, 1e15]) {
      for (const sort of ['name', 'price']) expect(await find({ minPrice, sort })).toStrictEqual([])
    }
  })

  test('takes a product out of the shop, and keeps what was ordered of it', async () => {
    const productId = await added('Short-lived', 'Removed', 100)
    const [orderId, customerId] = [randomUUID(), randomUUID()]
    await client.execute('placeOrder', { orderId, customerId, lines: [{ productId, quantity: 1 }] })
    await client.execute('removeProduct', { productId })
    expect(await product(productId)).toBeNull()
    expect(await browse({ category: 'Removed' })).toMatchObject({ items: [], facets: { prices: [] } })
    expect((await client.read<OrderPage>('orderHistory', { customerId })).items).toMatchObject([{ orderId, lines: [{ productId }] }])
    const order = { orderId: randomUUID(), customerId, lines: [{ productId, quantity: 1 }] }
    expect((await refusal('placeOrder', order)).code).toBe('unknown_product')
    expect((await refusal('removeProduct', { productId })).code).toBe('unknown_product')
  })

  test('refuses a cursor that is none', async () => {
    for (const input of [{ after: 'x' }, { after: 'x', text: 'torch' }, { after: 'x', minPrice: 5 }, { limit: 101 }, { limit: 0 }]) {
      const response = await client.query('catalogue', input)
      expect([response.status, ((await response.json()) as { code: string }).code]).toStrictEqual([422, 'invalid_input'])
    }
  })

  test('remembers what people think of a product', async () => {
    const productId = await added('Rated', 'Ratings', 100)
    const customers = [randomUUID(), randomUUID()]
    await client.execute('rateProduct', { productId, customerId: customers[0], stars: 5 })
    await client.execute('rateProduct', { productId, customerId: customers[1], stars: 2 })
    await client.execute('rateProduct', { productId, customerId: customers[1], stars: 4 })
    expect(await client.read('catalogueEntry', { productId })).toMatchObject({ productId, rating: 4.5, ratings: 2 })
    expect((await refusal('rateProduct', { productId: randomUUID(), customerId: customers[0], stars: 1 })).code).toBe('unknown_product')
  })

  test('keeps everything through kill -9 and a stop', async () => {
    const productId = await added('Lasting', 'Kept', 100, 5)
    const order = { orderId: randomUUID(), customerId: randomUUID(), lines: [{ productId, quantity: 2 }] }
    await client.execute('placeOrder', order)
    await example.end('SIGKILL')
    example = await startExample(place.settings)
    await built(example.url)
    client = new Client(example.url, client.token)
    await client.execute('placeOrder', { ...order, orderId: randomUUID() })
    expect((await product(productId))?.stock).toBe(1)
    expect(await example.end('SIGTERM')).toBe(0)
    example = await startExample(place.settings)
    client = new Client(example.url, client.token)
    await client.execute('restock', { productId, quantity: 1 })
    expect((await product(productId))?.stock).toBe(2)
    expect((await client.read<OrderPage>('orderHistory', { customerId: order.customerId })).items).toHaveLength(2)
  })
})

interface Priced {
  readonly name: string
  readonly price: number
}

const byName = (a: Priced, b: Priced) => (a.name < b.name ? -1 : a.name > b.name ? 1 : 0)
const byPrice = (a: Priced, b: Priced) => a.price - b.price
/** What the order is by; what is alike in that may come in any order. */
const keyOf = (sort: string) => (one: Priced) => (sort.endsWith('price') ? one.price : one.name)
