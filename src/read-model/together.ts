import type { Database, SqlClient } from '../database/database.ts'

/** Does something in one transaction: in the caller's own, where that is what was given. */
export async function together<T>(client: SqlClient, work: (client: SqlClient) => Promise<T>): Promise<T> {
  return isDatabase(client) ? await client.transaction(work) : await work(client)
}

/** Whether statements are transactions of their own. */
export function isDatabase(client: SqlClient): client is Database {
  return 'transaction' in client
}
