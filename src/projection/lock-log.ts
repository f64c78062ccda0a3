import type { SqlClient } from '../database/database.ts'
import { lockClass } from '../database/migrate.ts'

/** Takes the log's lock: nobody appends until the transaction ends. It is the last of all locks, but for those of checkpoints. */
export async function lockLog(transaction: SqlClient, schema: string): Promise<void> {
  await transaction.query('select pg_advisory_xact_lock($1::int, 0)', [lockClass(schema) + 4])
}
