import type { SqlClient } from '../../index.ts'

/** What `drizzle()` of `drizzle-orm/pg-proxy` calls for every statement. */
export type DrizzleProxy = (text: string, parameters: unknown[], method: 'all' | 'execute') => Promise<{ rows: unknown[] }>

/**
 * Lets Drizzle run its queries on a client of Headwater, so that they belong to the transaction of a command. Drizzle's own `transaction()`
 * is refused by its proxy driver.
 *
 * @example
 * const db = drizzle(drizzleProxy(client))
 */
export function drizzleProxy(client: SqlClient): DrizzleProxy {
  return async (text, parameters, method) => {
    const { rows } = await client.query<unknown>(text, parameters, { rowMode: method === 'all' ? 'array' : 'object', prepare: true })
    return { rows: [...rows] }
  }
}
