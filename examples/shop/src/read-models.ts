import { materializedView, projection } from 'headwater'
import { z } from 'zod'
import { bands } from './bands.ts'
import { order, orderLine } from './order.ts'
import { documents, hot } from './stores.ts'

const cents = z.int()
// Where a store is named the rows live there; where none is, in the database of the writes. Nothing else differs.
const inDocuments = documents ? { store: documents } : {}
const inHot = hot ? { store: hot } : {}

/** A document for each product: what is searched, filtered and sorted by. */
export const catalogue = materializedView('catalogue', {
  row: z.object({
    product_id: z.uuid(),
    name: z.string(),
    category: z.string(),
    department: z.string(),
    price: cents,
    stock: z.int(),
    available: z.boolean(),
    rating: z.number().nullable(),
    ratings: z.int(),
  }),
  key: 'product_id',
  select: `
    select p.id as product_id, p.name, c.path as category, split_part(c.path, '/', 1) as department,
      pr.price, s.quantity as stock, s.quantity > 0 as available, r.rating, r.ratings
    from products p
    join categories c on c.id = p.category_id
    join prices pr on pr.product_id = p.id
    join stock s on s.product_id = p.id
    cross join lateral (
      select round(avg(stars), 1)::float8 as rating, count(*) as ratings from ratings where product_id = p.id
    ) r`,
  changedBy: {
    products: 'id',
    prices: 'product_id',
    stock: 'product_id',
    ratings: 'product_id',
    categories: { sql: 'select id from products where category_id = $1', params: ['id'] },
  },
  indexes: {
    byName: ['name'],
    byPrice: ['price'],
    inDepartmentByName: ['department', 'name'],
    inDepartmentByPrice: ['department', 'price'],
    inCategoryByName: ['category', 'name'],
    inCategoryByPrice: ['category', 'price'],
  },
  ...inDocuments,
})

/** Which products a word is in the name of. An index that any store can keep: searching takes a range of words. */
export const catalogueWords = materializedView('catalogue_words', {
  row: z.object({ word: z.string(), product_id: z.uuid() }),
  key: ['word', 'product_id'],
  select: 'select w.word, p.id as product_id from products p cross join lateral unnest(p.words) as w (word)',
  changedBy: { products: { sql: 'select w, $2::uuid from unnest($1::text[]) w', params: ['words', 'id'] } },
  ...inDocuments,
})

/** How many products of each band of prices a category has. Small, however many products there are: what is counted need not be counted again. */
export const catalogueFacets = materializedView('catalogue_facets', {
  row: z.object({ category_id: z.int(), category: z.string(), department: z.string(), products: z.array(z.int()) }),
  key: 'category_id',
  select: `
    select c.id as category_id, c.path as category, split_part(c.path, '/', 1) as department,
      array[${bands.map(({ from, to }) => `count(*) filter (where pr.price between ${from} and ${to})`).join(', ')}]::integer[] as products
    from categories c
    left join products p on p.category_id = c.id
    left join prices pr on pr.product_id = p.id
    group by c.id, c.path`,
  changedBy: {
    categories: 'id',
    products: 'category_id',
    prices: { sql: 'select category_id from products where id = $1', params: ['product_id'] },
  },
  ...inDocuments,
})

/** What a product is and costs, wherever it is shown. */
export const productCards = materializedView('product_cards', {
  row: z.object({ product_id: z.uuid(), name: z.string(), category: z.string(), price: cents }),
  key: 'product_id',
  select: `
    select p.id as product_id, p.name, c.path as category, pr.price
    from products p
    join categories c on c.id = p.category_id
    join prices pr on pr.product_id = p.id`,
  changedBy: {
    products: 'id',
    prices: 'product_id',
    categories: { sql: 'select id from products where category_id = $1', params: ['id'] },
  },
  ...inHot,
})

/** How much there is of it. Apart from the cards, because it changes with each order. */
export const stockLevels = materializedView('stock_levels', {
  row: z.object({ product_id: z.uuid(), stock: z.int() }),
  key: 'product_id',
  select: 'select product_id, quantity as stock from stock',
  changedBy: { stock: 'product_id' },
  ...inHot,
})

/** What somebody has ordered. */
export const orderHistory = projection('order_history', {
  from: [order],
  row: z.object({ order_id: z.uuid(), customer_id: z.uuid(), placed_at: z.string(), total: cents, lines: z.array(orderLine) }),
  on: {
    OrderPlaced: (_none, { stream, time, data: { customerId, lines, total } }) => ({
      order_id: stream,
      customer_id: customerId,
      placed_at: time,
      total,
      lines,
    }),
  },
  indexes: { ofCustomer: ['customer_id', 'placed_at'] },
})
