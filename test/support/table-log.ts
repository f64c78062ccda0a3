import { randomUUID } from 'node:crypto'
import type { Database } from 'headwater'
import type { EventLog } from '../../src/log/log.ts'
import type { Event } from '../../src/message/event.ts'
import { freshSchema } from './databases.ts'

/** The smallest log that several processes can read: one table, one row an event. Only what reactions need. */
export interface TableLog extends Pick<EventLog, 'read' | 'head'> {
  readonly table: string
  /** Appends one event to the end, or several as one. */
  happen(
    ...events: readonly { readonly type: string; readonly stream: string; readonly data?: unknown; readonly schemaVersion?: number }[]
  ): Promise<readonly Event[]>
}

/** Makes a log with a table of its own; it goes when the file's tests are over. */
export async function tableLog(database: Database): Promise<TableLog> {
  const schema = freshSchema('log')
  const table = `${schema}.event`
  await database.query(
    `create schema ${schema}; create table ${table} (position bigint primary key, id uuid not null, type text not null, event json not null)`,
  )
  const toEvent = (row: { readonly event: unknown; readonly position: number }) => ({ ...(row.event as Event), position: row.position })
  return {
    table,
    async read({ after, limit, types }) {
      const { rows } = await database.query<{ event: unknown; position: number }>(
        `select event, position from ${table} where position > $1 and ($3::text[] is null or type = any ($3::text[])) order by position limit $2`,
        [after, limit, types ?? null],
      )
      return rows.map(toEvent)
    },
    async head() {
      const { rows } = await database.query<{ position: number; id: string }>(
        `select position, id from ${table} order by position desc limit 1`,
      )
      return rows[0] ? { position: rows[0].position, eventId: rows[0].id } : { position: 0, eventId: null }
    },
    async happen(...events) {
      return await database.transaction(async (transaction) => {
        await transaction.query(`lock table ${table} in exclusive mode`)
        const happened: Event[] = []
        for (const { type, stream, data = {}, schemaVersion = 1 } of events) {
          const { rows } = await transaction.query<{ position: number; time: string }>(
            `select coalesce(max(position), 0) + 1 as position, clock_timestamp() as time from ${table}`,
          )
          const { position = 0, time = '' } = rows[0] ?? {}
          const event = {
            id: randomUUID(),
            aggregate: 'thing',
            stream,
            version: position,
            type,
            data,
            schemaVersion,
            metadata: {},
            time,
          }
          await transaction.query(`insert into ${table} values ($1, $2, $3, $4)`, [position, event.id, type, event])
          happened.push({ ...event, position })
        }
        return happened
      })
    },
  }
}
