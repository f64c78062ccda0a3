import { quote } from '../database/identifier.ts'
import type { CommandRuntime } from './command-runtime.ts'

const chunk = 1000

/**
 * Deletes idempotency keys older than `retentionMs` by the database's clock, a thousand to a transaction, and resolves to how many. A key that is in
 * use right now is passed over. Several processes may sweep at once.
 */
export async function sweepCommands(runtime: CommandRuntime, retentionMs: number): Promise<number> {
  const table = `${quote(runtime.schema)}.command`
  let swept = 0
  for (;;) {
    const { rowCount } = await runtime.database.query(
      `delete from ${table} where ctid = any (array(
         select ctid from ${table} where created_at < clock_timestamp() - $1::float8 * interval '1 millisecond'
         order by created_at limit ${chunk} for update skip locked))`,
      [retentionMs],
    )
    swept += rowCount
    if (rowCount < chunk) return swept
  }
}
