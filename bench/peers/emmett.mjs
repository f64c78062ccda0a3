import { CommandHandler } from '@event-driven-io/emmett'
import { getPostgreSQLEventStore } from '@event-driven-io/emmett-postgresql'
import pg from 'pg'
import { dataOf, eventsSelect, evolved } from '../accounts.mjs'

/** How many connections a peer has: no more made none of them faster. */
const poolSize = 16

const initialState = () => ({ balance: 0, events: 0 })
const decide = CommandHandler({ evolve: (state, { data }) => evolved(state, data), initialState })

/**
 * Emmett in a database of its own: it looks for its functions in all schemas.
 * @param {string} url
 * @param {{ poolSize?: number, projections?: readonly object[] }} [options]
 */
export function openEmmett(url, { poolSize: max = poolSize, projections = [] } = {}) {
  const pool = new pg.Pool({ connectionString: url, max, application_name: 'headwater bench' })
  const store = getPostgreSQLEventStore(url, { connectionOptions: { pool }, projections, schema: { autoMigration: 'CreateOrUpdate' } })
  return {
    pool,
    store,
    migrate: () => store.schema.migrate(),
    /** One append to a new stream, without reading it first. @param {string} id */
    append: (id, amount = 1) =>
      store.appendToStream(`account-${id}`, [{ type: 'AccountOpened', data: dataOf(id, amount) }], {
        expectedStreamVersion: 'STREAM_DOES_NOT_EXIST',
      }),
    /** Reads the stream, decides, appends. @param {string} id @param {string} type */
    execute: (id, type, amount = 1) =>
      decide(store, `account-${id}`, () => ({ type, data: dataOf(id, amount) }), { retry: { onVersionConflict: 10 } }),
    /** @param {{ count: number, accounts: number }} size */
    async fill(size) {
      const client = await pool.connect()
      await client.query(`set work_mem = '256MB'`)
      await client.query(
        `insert into emt_messages (stream_id, stream_position, transaction_id, message_schema_version, message_id, message_type, message_data, message_metadata)
         select 'account-' || id, version, pg_current_xact_id(), '1', gen_random_uuid()::text, type, data::jsonb, '{}' from (${eventsSelect(size)}) e`,
      )
      await client.query(
        `insert into emt_streams (stream_id, stream_position, stream_type, stream_metadata)
         select stream_id, max(stream_position), 'account', '{}' from emt_messages group by 1`,
      )
      await client.query('vacuum analyze')
      client.release(true)
    },
    async close() {
      await store.close()
      await pool.end()
    },
  }
}
