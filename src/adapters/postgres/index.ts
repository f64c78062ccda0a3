/**
 * Where the data lives: a PostgreSQL server, or PostgreSQL inside the process.
 *
 * @module
 */

export { type DrizzleProxy, drizzleProxy } from './drizzle-proxy.ts'
export { type KyselyClient, type KyselyPool, type KyselyResult, kyselyPool } from './kysely-pool.ts'
export { type PgliteOptions, pglite } from './pglite.ts'
export type { HousekeepingOptions } from './pglite-housekeeping.ts'
export { type PostgresOptions, postgres, type ReplicatedOptions } from './postgres.ts'
export { type PostgresStore, type PostgresStoreOptions, postgresStore } from './postgres-store.ts'
