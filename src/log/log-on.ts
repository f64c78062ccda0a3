import type { SqlClient } from '../database/database.ts'
import { UsageError } from '../errors.ts'
import type { EventLog } from './log.ts'
import { readEvents, readHead } from './read-events.ts'
import { StreamLoader } from './stream-loader.ts'

/** The log as one transaction sees it: what a query reads of the past comes from the snapshot of everything else it reads. */
export function logOn(client: SqlClient, schema: string): EventLog {
  const place = { database: client, schema, connections: 1 }
  const loader = new StreamLoader(place)
  return {
    append: () => Promise.reject(new UsageError('a query cannot append events')),
    readStream: (aggregate, stream, afterVersion = 0) => loader.load(aggregate, stream, afterVersion),
    readState: (aggregate, stream, afterVersion = 0) => loader.loadState(aggregate, stream, afterVersion),
    read: (options) => readEvents(place, options),
    head: () => readHead(place),
  }
}
