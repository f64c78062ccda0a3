import { type Database, type DatabaseNative, databaseStore, type Store, type StoredModel } from '../../index.ts'
import { postgres } from './postgres.ts'

/** Where in the database, and how it is reached. */
export interface PostgresStoreOptions {
  /** The PostgreSQL schema for rows and checkpoints, which nobody else uses; it is made when it is first used. Default `headwater_store`. */
  readonly schema?: string
  /** How many connections to open at most. Default 10. */
  readonly poolSize?: number
  /** How long the server may be silent while it owes an answer, after which its connection is given up. Default 60,000: an index may take long to make. */
  readonly answerTimeoutMs?: number
}

/** Read models in another PostgreSQL database. Several owners at once are safe: a batch is one statement. */
export interface PostgresStore extends Store {
  readonly native: Database
  /** What a reader of a version hands out. */
  nativeOf(model: StoredModel): Promise<DatabaseNative>
  /** Closes the database if the store opened it. */
  close(): Promise<void>
}

/**
 * Read models in another PostgreSQL database, or on another server, than the one that is written to. Takes an address, and then connects when it is
 * first used; or a database, which stays the caller's to close. Without a store read models live in the write database, where tokens cost least.
 * Reading and writing fail with `IncompatibleStoreError` where the schema holds something else under the same names, or tables of a newer format.
 *
 * @example
 * const reports = postgresStore('postgres://reports.internal/shop')
 */
export function postgresStore(addressOrDatabase: string | Database, options: PostgresStoreOptions = {}): PostgresStore {
  const { schema = 'headwater_store', poolSize = 10, answerTimeoutMs = 60_000 } = options
  const isOurs = typeof addressOrDatabase === 'string'
  const database = isOurs ? opened(addressOrDatabase, poolSize, answerTimeoutMs) : addressOrDatabase
  const store = databaseStore(database, schema, { home: false, description: `${database.traits.description}, schema ${schema}` })
  return Object.assign(store, { native: database, close: async () => (isOurs ? database.close() : undefined) })
}

/** `pg` takes the time for an answer from the address, and gives a connection up that owes one for longer. */
function opened(address: string, poolSize: number, answerTimeoutMs: number): Database {
  const patient = /[?&]query_timeout=/.test(address)
  const url = patient ? address : `${address}${address.includes('?') ? '&' : '?'}query_timeout=${answerTimeoutMs}`
  return postgres(url, { poolSize, connectTimeoutMs: Math.min(10_000, answerTimeoutMs) })
}
