import { randomUUID } from 'node:crypto'
import { Random } from '../seed/random.ts'
import { ShopClient } from './shop-client.ts'

const customerCount = 64
const itemsOnSale = 5
const stockOfEach = 60
const restockOfEach = 15

interface Place {
  readonly readModel: string
  readonly store: string
}

interface Line {
  readonly productId: string
  readonly quantity: number
}

/** Somebody in the sale: their own connection and token, and what the shop said they had bought. */
interface Customer {
  readonly customerId: string
  readonly client: ShopClient
  readonly orders: Map<string, readonly Line[]>
  refused: number
}

/**
 * A flash sale: many customers at once buy the last of a few products, one or several in an order, with a restock in the middle, until nothing is left. Then
 * it adds up what was in stock, what was sold and what is left, in the read models and in the orders, and takes the products out of the shop again. True if nothing was sold twice and nothing is missing.
 * `urls` may be several processes; customers are spread over them.
 */
export async function holdFlashSale(urls: readonly [string, ...string[]], print: (line: string) => void): Promise<boolean> {
  const shop = new ShopClient(urls[0])
  const productIds = Array.from({ length: itemsOnSale }, () => randomUUID())
  try {
    return await sell(shop, productIds, urls, print)
  } finally {
    // Nobody could buy them any more: they would only fill the shelves.
    for (const productId of productIds) await shop.execute('removeProduct', { productId })
  }
}

async function sell(
  shop: ShopClient,
  productIds: readonly string[],
  urls: readonly [string, ...string[]],
  print: (line: string) => void,
): Promise<boolean> {
  const random = new Random(Date.now())
  await offer(shop, productIds)
  print(`Flash sale: ${itemsOnSale} products, ${stockOfEach} of each and ${restockOfEach} more later, ${customerCount} customers at once.`)
  const customers = Array.from({ length: customerCount }, (_, i): Customer => {
    const client = new ShopClient(urls[i % urls.length] ?? urls[0])
    return { customerId: randomUUID(), client, orders: new Map(), refused: 0 }
  })
  const beganAt = performance.now()
  await Promise.all([
    ...customers.map((customer) => buy(customer, productIds, random)),
    ...productIds.map((productId) => shop.execute('restock', { productId, quantity: restockOfEach })),
  ])
  const seconds = (performance.now() - beganAt) / 1000
  const placed = customers.reduce((sum, { orders }) => sum + orders.size, 0)
  const refused = customers.reduce((sum, customer) => sum + customer.refused, 0)
  print(`  ${placed} orders placed, ${refused} refused as out of stock; ${Math.round((placed + refused) / seconds)} answers/s`)
  const faults = [...(await orderFaults(customers)), ...(await stockFaults(shop, customers, productIds, print))]
  for (const fault of faults) print(`  FAULT: ${fault}`)
  print(faults.length === 0 ? 'Nothing was oversold, and every order is accounted for.' : 'That is not as it should be.')
  return faults.length === 0
}

async function offer(shop: ShopClient, productIds: readonly string[]): Promise<void> {
  for (const [i, productId] of productIds.entries()) {
    const input = { productId, name: `Flash sale item ${i + 1}`, category: 'Flash sale', price: 100 + 50 * i, stock: stockOfEach }
    const { status, code } = await shop.execute('addProduct', input)
    if (code) throw new Error(`addProduct: ${status} ${code}`)
  }
}

/** Buys until told often enough that there is nothing left. */
async function buy(customer: Customer, productIds: readonly string[], random: Random): Promise<void> {
  const { client, customerId, orders } = customer
  while (customer.refused < 4) {
    const lines = random
      .shuffle(productIds)
      .slice(0, 1 + random.below(3))
      .map((productId) => ({ productId, quantity: 1 + random.below(2) }))
    const orderId = randomUUID()
    const { status, code } = await client.execute('placeOrder', { orderId, customerId, lines })
    if (status === 200) orders.set(orderId, lines)
    else if (code === 'out_of_stock') customer.refused++
    else throw new Error(`placeOrder: ${status} ${code}`)
  }
}

interface OrderPage {
  readonly items: readonly { readonly orderId: string; readonly lines: readonly Line[] }[]
  readonly next: string | null
}

/** Each customer's history must hold the orders that were answered with yes, and no others. */
async function orderFaults(customers: readonly Customer[]): Promise<readonly string[]> {
  const faults: string[] = []
  for (const { client, customerId, orders } of customers) {
    const seen = new Map<string, readonly Line[]>()
    for (let after: string | null | undefined; after !== null; ) {
      const page: OrderPage = await client.query('orderHistory', { customerId, limit: 100, after })
      for (const { orderId, lines } of page.items) seen.set(orderId, lines)
      after = page.next
    }
    for (const [orderId, lines] of orders) if (!isSame(lines, seen.get(orderId))) faults.push(`order ${orderId} is not as it was placed`)
    for (const orderId of seen.keys()) if (!orders.has(orderId)) faults.push(`order ${orderId} was placed, but was answered with no`)
  }
  return faults
}

function isSame(placed: readonly Line[], seen: readonly Line[] | undefined): boolean {
  return JSON.stringify(placed) === JSON.stringify(seen?.map(({ productId, quantity }) => ({ productId, quantity })))
}

/** What is left and what was sold must be what there was, whichever read model is asked. */
async function stockFaults(
  shop: ShopClient,
  customers: readonly Customer[],
  productIds: readonly string[],
  print: (line: string) => void,
): Promise<readonly string[]> {
  // Each asks with the token of their last order: once all are answered, the read models hold every order.
  const [first] = productIds
  await Promise.all(
    customers.flatMap(({ client }) => ['product', 'catalogueEntry'].map((name) => client.query(name, { productId: first }))),
  )
  const { items: places } = await shop.query<{ readonly items: readonly Place[] }>('stores', {})
  const storeOf = (name: string) => places.find(({ readModel }) => readModel === name)?.store ?? 'its store'
  const faults: string[] = []
  const had = stockOfEach + restockOfEach
  const lines = customers.flatMap(({ orders }) => [...orders.values()].flat())
  for (const [i, productId] of productIds.entries()) {
    const sold = lines.reduce((sum, line) => sum + (line.productId === productId ? line.quantity : 0), 0)
    const { stock } = await shop.query<{ readonly stock: number }>('product', { productId })
    const document = await shop.query<{ readonly stock: number }>('catalogueEntry', { productId })
    const left = `${stock} left in stock_levels (${storeOf('stock_levels')}), ${document.stock} in catalogue (${storeOf('catalogue')})`
    print(`  item ${i + 1}: ${had} in stock, ${sold} sold; ${left}`)
    if (sold > had) faults.push(`item ${i + 1} was oversold by ${sold - had}`)
    if (stock < 0 || stock !== had - sold) faults.push(`item ${i + 1}: stock_levels says ${stock} are left`)
    if (document.stock !== stock) faults.push(`item ${i + 1}: the catalogue says ${document.stock} are left`)
  }
  return faults
}
