import { command, reject } from 'headwater'
import { z } from 'zod'
import { priceMax } from './bands.ts'
import { order } from './order.ts'
import { wordsOf } from './words.ts'

// Written either way, it is the same product, order or person.
const id = z.uuid().toLowerCase()
const price = z.int().min(0).max(priceMax)
const name = z.string().min(1).max(200).regex(/\S/, 'is blank')
/** A path such as `Kitchen/Coffee`; what stands before the first `/` is the department. */
const category = z
  .string()
  .min(1)
  .max(100)
  .regex(/^[^/]*[^/\s][^/]*(\/|$)/, 'has no department')

export const addProduct = command('addProduct', {
  input: z.object({ productId: id, name, category, price, stock: z.int().min(0).max(1_000_000) }),
  async execute({ productId, name, category, price, stock }, { sql }) {
    await sql`insert into categories (path) values (${category}) on conflict (path) do nothing`
    const added = await sql`
      insert into products (id, name, words, category_id)
      select ${productId}, ${name}, ${wordsOf(name)}::text[], id from categories where path = ${category}
      on conflict (id) do nothing
      returning id`
    if (added.length === 0) throw reject('already_exists', { productId })
    await sql`
      with priced as (insert into prices (product_id, price) values (${productId}, ${price}))
      insert into stock (product_id, quantity) values (${productId}, ${stock})`
  },
})

export const changePrice = command('changePrice', {
  input: z.object({ productId: id, price }),
  async execute({ productId, price }, { sql }) {
    const changed = await sql`update prices set price = ${price} where product_id = ${productId} returning product_id`
    if (changed.length === 0) throw reject('unknown_product', { productId })
  },
})

export const restock = command('restock', {
  input: z.object({ productId: id, quantity: z.int().min(1).max(1_000_000) }),
  async execute({ productId, quantity }, { sql }) {
    const restocked = await sql`update stock set quantity = quantity + ${quantity} where product_id = ${productId} returning product_id`
    if (restocked.length === 0) throw reject('unknown_product', { productId })
  },
})

/** Takes a product out of the shop. What was ordered of it stays ordered. */
export const removeProduct = command('removeProduct', {
  input: z.object({ productId: id }),
  async execute({ productId }, { sql }) {
    // Price, stock and ratings go with it.
    const removed = await sql`delete from products where id = ${productId} returning id`
    if (removed.length === 0) throw reject('unknown_product', { productId })
  },
})

/** Rating a product again replaces one's rating. */
export const rateProduct = command('rateProduct', {
  input: z.object({ productId: id, customerId: id, stars: z.int().min(1).max(5) }),
  async execute({ productId, customerId, stars }, { sql }) {
    const rated = await sql`
      insert into ratings (product_id, customer_id, stars) select id, ${customerId}, ${stars} from products where id = ${productId}
      on conflict (product_id, customer_id) do update set stars = excluded.stars
      returning product_id`
    if (rated.length === 0) throw reject('unknown_product', { productId })
  },
})

interface Shelf {
  readonly product_id: string
  readonly quantity: number
  readonly price: number
}

/**
 * Takes everything that is ordered out of stock, or nothing. The stock's rows are locked before they are looked at, so of two orders for the last item
 * one sees it gone; the order itself is an event, which is in the log exactly if the stock was taken.
 */
export const placeOrder = command('placeOrder', {
  input: z.object({
    orderId: id,
    customerId: id,
    lines: z
      .array(z.object({ productId: id, quantity: z.int().min(1).max(1000) }))
      .min(1)
      .max(100),
  }),
  async execute({ orderId, customerId, lines }, { sql, emit }) {
    const taken = await sql`insert into order_ids (id) values (${orderId}) on conflict (id) do nothing returning id`
    if (taken.length === 0) throw reject('already_exists', { orderId })
    const wanted = new Map<string, number>()
    for (const { productId, quantity } of lines) wanted.set(productId, (wanted.get(productId) ?? 0) + quantity)
    const productIds = [...wanted.keys()]
    // Everybody locks in the same order: two orders for the same products wait for each other, never both at once.
    const shelves = await sql<Shelf>`
      select s.product_id, s.quantity, p.price
      from stock s join prices p on p.product_id = s.product_id
      where s.product_id = any(${productIds}::uuid[])
      order by s.product_id
      for update of s`
    const found = new Map(shelves.map((shelf) => [shelf.product_id, shelf]))
    const unknown = productIds.filter((productId) => !found.has(productId))
    if (unknown.length > 0) throw reject('unknown_product', { productIds: unknown })
    const short = shelves
      .map(({ product_id, quantity }) => ({ productId: product_id, wanted: wanted.get(product_id) ?? 0, left: quantity }))
      .filter(({ wanted, left }) => wanted > left)
    if (short.length > 0) throw reject('out_of_stock', short)
    await sql`
      update stock s set quantity = s.quantity - o.quantity
      from unnest(${productIds}::uuid[], ${[...wanted.values()]}::bigint[]) as o (product_id, quantity)
      where s.product_id = o.product_id`
    const priced = lines.map(({ productId, quantity }) => ({ productId, quantity, price: found.get(productId)?.price ?? 0 }))
    const total = priced.reduce((sum, { quantity, price }) => sum + quantity * price, 0)
    emit(order, orderId, order.events.OrderPlaced({ customerId, lines: priced, total }))
  },
})
