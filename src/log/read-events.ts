import type { SqlClient } from '../database/database.ts'
import { quote } from '../database/identifier.ts'
import { UsageError } from '../errors.ts'
import type { Event } from '../message/event.ts'
import type { EventLog, Head } from './log.ts'
import { eventOf, type StoredEvent, storedColumns } from './stored-event.ts'

interface Place {
  readonly database: SqlClient
  readonly schema: string
}

/*
 * Neither statement is kept prepared: a plan made while the log is empty would go on reading the whole of it when it no longer is.
 */

/** Events after a position, in order. */
export async function readEvents(
  { database, schema }: Place,
  { after, limit, types }: Parameters<EventLog['read']>[0],
): Promise<readonly Event[]> {
  if (!(Number.isSafeInteger(after) && after >= 0)) throw new UsageError(`read: "after" is no position: ${after}`)
  if (!(Number.isSafeInteger(limit) && limit >= 0)) throw new UsageError(`read: "limit" is no count: ${limit}`)
  const wanted = types && [...new Set(types)]
  if (limit === 0 || wanted?.length === 0) return []
  const { rows } = await database.query<StoredEvent>(readText(schema, wanted?.length), [after, limit, ...(wanted ?? [])], {
    rowMode: 'array',
  })
  return rows.map(eventOf)
}

/**
 * With types: of each type a scan of its own that the index gives in order, merged until there are enough. One scan over a list of types would
 * read all their events to sort them.
 */
function readText(schema: string, types: number | undefined): string {
  const table = `${quote(schema)}.event`
  if (types === undefined) return `select ${storedColumns} from ${table} where position > $1::bigint order by position limit $2::bigint`
  const scans = Array.from(
    { length: types },
    (_, i) =>
      `(select ${storedColumns} from ${table} where type = $${i + 3}::text and position > $1::bigint order by position limit $2::bigint)`,
  )
  return types === 1 ? (scans[0] ?? '').slice(1, -1) : `${scans.join(' union all ')} order by position limit $2::bigint`
}

/** The end of the log. */
export async function readHead({ database, schema }: Place): Promise<Head> {
  const { rows } = await database.query<{ position: number; id: string }>(
    `select position, id from ${quote(schema)}.event order by position desc limit 1`,
  )
  return { position: rows[0]?.position ?? 0, eventId: rows[0]?.id ?? null }
}
