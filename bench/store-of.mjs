import { mongodb } from 'headwater/mongodb'
import { redis } from 'headwater/redis'

/**
 * Headwater's store at an address; each application gets one of its own.
 * @param {import('./stores.mjs').StoreAddress} address
 */
export function storeOf({ kind, url, name }) {
  return kind === 'redis' ? redis(url, { prefix: name }) : mongodb(url, { database: name })
}
