import { quote } from '../database/identifier.ts'
import type { CommandRuntime } from './command-runtime.ts'

const chunk = 1000

/**
 * Deletes idempotency keys older than `retentionMs` by the database's clock, a thousand to a transaction, and resolves to how many. A key that is in
 * use right now is passed over, and so is one of a reaction's command that may have to be sent again. Several processes may sweep at once.
 */
export async function sweepCommands(runtime: CommandRuntime, retentionMs: number): Promise<number> {
  const schema = quote(runtime.schema)
  let swept = 0
  for (;;) {
    const { rowCount } = await runtime.database.query(
      `delete from ${schema}.command where ctid = any (array(
         select c.ctid from ${schema}.command c where c.created_at < clock_timestamp() - $1::float8 * interval '1 millisecond'
           and not exists (select from ${schema}.reaction_task t where t.id = c.key)
         order by c.created_at limit ${chunk} for update skip locked))`,
      [retentionMs],
    )
    swept += rowCount
    if (rowCount < chunk) return swept
  }
}
