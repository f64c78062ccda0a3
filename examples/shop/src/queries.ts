import { query } from 'headwater'
import { z } from 'zod'
import { priceMax } from './bands.ts'
import { search } from './catalogue/search.ts'
import type { CatalogueRow } from './catalogue/wanted.ts'
import {
  catalogue as catalogueDocuments,
  catalogueFacets,
  catalogueWords,
  orderHistory as orders,
  productCards,
  stockLevels,
} from './read-models.ts'
import { places } from './stores.ts'
import { wordsOf } from './words.ts'

const id = z.uuid().toLowerCase()
const limit = z.int().min(1).max(100).default(20)
const next = z.string().max(5000).nullish()
/** Beyond the highest price there is nothing, which is no reason to refuse a search. */
const bound = z.int().min(0)

/** A product as a client gets it. */
export interface Product {
  readonly productId: string
  readonly name: string
  readonly category: string
  readonly price: number
  readonly stock: number
}

interface Card {
  readonly product_id: string
  readonly name: string
  readonly category: string
  readonly price: number
}

export const product = query('product', {
  input: z.object({ productId: id }),
  reads: { productCards, stockLevels },
  async execute({ productId }, { productCards, stockLevels }): Promise<Product | null> {
    const [card, level] = await Promise.all([productCards.get(productId), stockLevels.get(productId)])
    return card && level ? toProduct(card, level.stock) : null
  },
})

/** Several at once, as a cart has them: those that there are, in the order they were asked for. */
export const products = query('products', {
  input: z.object({ productIds: z.array(id).max(100) }),
  reads: { productCards, stockLevels },
  async execute({ productIds }, { productCards, stockLevels }) {
    const [cards, levels] = await Promise.all([productCards.getMany(productIds), stockLevels.getMany(productIds)])
    const stock = new Map(levels.map((level) => [level.product_id, level.stock]))
    return {
      items: cards.flatMap((card) => {
        const left = stock.get(card.product_id)
        return left === undefined ? [] : [toProduct(card, left)]
      }),
    }
  },
})

export const catalogue = query('catalogue', {
  input: z.object({
    text: z.string().max(200).nullish(),
    category: z.string().max(100).nullish(),
    minPrice: bound.nullish(),
    maxPrice: bound.nullish(),
    sort: z.enum(['relevance', 'price', '-price', 'name']).default('relevance'),
    limit,
    after: next,
  }),
  reads: { catalogue: catalogueDocuments, catalogueWords, catalogueFacets },
  async execute({ text, category, minPrice, maxPrice, sort, limit, after }, readers) {
    const { items, facets, next } = await search(readers, {
      words: text == null || text.trim() === '' ? undefined : wordsOf(text),
      category: category ?? undefined,
      minPrice: Math.min(minPrice ?? 0, priceMax + 1),
      maxPrice: Math.min(maxPrice ?? priceMax, priceMax),
      sort,
      limit,
      after,
    })
    return { items: items.map(toItem), facets, next }
  },
})

/** A product's document, with what those who rated it think of it. */
export const catalogueEntry = query('catalogueEntry', {
  input: z.object({ productId: id }),
  reads: { catalogue: catalogueDocuments },
  async execute({ productId }, { catalogue }) {
    const row = await catalogue.get(productId)
    return row ? { ...toItem(row), rating: row.rating, ratings: row.ratings } : null
  },
})

/** A product's card alone: it depends on no other read model. */
export const productCard = query('productCard', {
  input: z.object({ productId: id }),
  reads: { productCards },
  async execute({ productId }, { productCards }) {
    const card = await productCards.get(productId)
    return card ? { productId, name: card.name, category: card.category, price: card.price } : null
  },
})

export const stockLevel = query('stockLevel', {
  input: z.object({ productId: id }),
  reads: { stockLevels },
  async execute({ productId }, { stockLevels }) {
    const level = await stockLevels.get(productId)
    return level ? { productId, stock: level.stock } : null
  },
})

/** What somebody ordered, newest first. */
export const orderHistory = query('orderHistory', {
  input: z.object({ customerId: id, limit, after: next }),
  reads: { orders },
  async execute({ customerId, limit, after }, { orders }) {
    const page = await orders.find({ where: { customer_id: customerId }, orderBy: { placed_at: 'desc' }, limit, after })
    const items = page.items.map(({ order_id, placed_at, total, lines }) => ({ orderId: order_id, placedAt: placed_at, total, lines }))
    return { items, next: page.next }
  },
})

/** Where each read model lives. */
export const stores = query('stores', { input: z.object({}), reads: {}, execute: async () => ({ items: places }) })

function toProduct({ product_id, name, category, price }: Card, stock: number): Product {
  return { productId: product_id, name, category, price, stock }
}

function toItem({ product_id, name, category, price, stock, available }: CatalogueRow) {
  return { productId: product_id, name, category, price, stock, available }
}
