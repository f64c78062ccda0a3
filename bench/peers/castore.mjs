import { EventStore, EventType } from '@castore/core'
import { PostgresEventStorageAdapter } from '@castore/event-storage-adapter-postgres'
import { dataOf, evolved } from '../accounts.mjs'

/** Castore with its PostgreSQL adapter, which opens ten connections. @param {string} url */
export async function openCastore(url) {
  await PostgresEventStorageAdapter.createEventTable({ connectionString: url })
  const adapter = new PostgresEventStorageAdapter({ connectionString: url })
  const store = new EventStore({
    eventStoreId: 'account',
    eventTypes: [new EventType({ type: 'AccountOpened' }), new EventType({ type: 'MoneyDeposited' })],
    reducer: (state, { version, payload, aggregateId }) => ({
      aggregateId,
      version,
      ...evolved(state ?? { balance: 0, events: 0 }, payload),
    }),
    eventStorageAdapter: adapter,
  })
  return {
    /** One append to a new stream, without reading it first. @param {string} id */
    append: (id) => store.pushEvent({ aggregateId: id, version: 1, type: 'AccountOpened', payload: dataOf(id, 1) }),
    // The adapter keeps its connections to itself.
    close: () => adapter._sql.end({ timeout: 1 }),
  }
}
