import type { Store } from 'headwater'
import { mongodb } from 'headwater/mongodb'
import { redis } from 'headwater/redis'

const { MONGODB_URL, REDIS_URL, REDIS_PREFIX } = process.env

/** For documents that are searched: MongoDB where there is one, else undefined, which is the database of the writes. */
export const documents: Store | undefined = MONGODB_URL ? mongodb(MONGODB_URL) : undefined

/** For what every page reads: Redis where there is one. */
export const hot: Store | undefined = REDIS_URL ? redis(REDIS_URL, REDIS_PREFIX ? { prefix: REDIS_PREFIX } : {}) : undefined

/** Where a read model lives, for people. */
export interface Place {
  readonly readModel: string
  readonly store: 'PostgreSQL' | 'MongoDB' | 'Redis'
}

const inDocuments = documents ? 'MongoDB' : 'PostgreSQL'
const inHot = hot ? 'Redis' : 'PostgreSQL'

export const places: readonly Place[] = [
  { readModel: 'catalogue', store: inDocuments },
  { readModel: 'catalogue_words', store: inDocuments },
  { readModel: 'catalogue_facets', store: inDocuments },
  { readModel: 'product_cards', store: inHot },
  { readModel: 'stock_levels', store: inHot },
  { readModel: 'order_history', store: 'PostgreSQL' },
]

/** Says where things are, and what to set for them to be elsewhere. */
export function printPlaces(print: (line: string) => void): void {
  if (documents) print(`Catalogue: ${documents.description}`)
  else print('Catalogue: in PostgreSQL, since MONGODB_URL is not set')
  if (hot) print(`Product cards and stock levels: ${hot.description}`)
  else print('Product cards and stock levels: in PostgreSQL, since REDIS_URL is not set')
}

export async function closeStores(): Promise<void> {
  await Promise.all([documents?.close?.(), hot?.close?.()])
}
