import type { SqlClient } from '../database/database.ts'
import { quote } from '../database/identifier.ts'
import { lockClass } from '../database/migrate.ts'
import { eventOf, type StoredEvent, storedColumns } from '../log/stored-event.ts'
import type { Event } from '../message/event.ts'

/** Takes the log's lock, so that nobody appends until the transaction ends, and reads the events after a position. */
export async function readLocked(transaction: SqlClient, schema: string, after: number, limit: number): Promise<readonly Event[]> {
  await transaction.query('select pg_advisory_xact_lock($1::int, 0)', [lockClass(schema) + 4])
  const { rows } = await transaction.query<StoredEvent>(
    `select ${storedColumns} from ${quote(schema)}.event where position > $1::bigint order by position limit $2::bigint`,
    [after, limit],
    { rowMode: 'array' },
  )
  return rows.map(eventOf)
}
