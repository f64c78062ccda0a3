import type pg from 'pg'
import { type Database, UsageError, type WhenBehind } from '../../index.ts'
import { importPeer } from '../../internal/import-peer.ts'
import type { Connection } from './connection.ts'
import { failureOf } from './failure.ts'
import { type ConnectionSource, PooledDatabase } from './pooled-database.ts'
import { PostgresConnection } from './postgres-connection.ts'
import { searchPathOf } from './search-path.ts'
import { StatementNames } from './statement-names.ts'

/** How connections to a server are opened and kept. */
export interface PostgresOptions {
  /** How many connections to open at most. Default 10. */
  readonly poolSize?: number
  /** After how long the server ends a statement, with SQLSTATE 57014. Default: the server's own setting. */
  readonly statementTimeoutMs?: number
  /** After how long the server ends a session that does nothing inside a transaction. Default 60,000. */
  readonly idleInTransactionTimeoutMs?: number
  /** How long opening a connection may take. Default 10,000. */
  readonly connectTimeoutMs?: number
  /**
   * False behind a pooler in transaction mode (PgBouncer): nothing is kept prepared, and settings are sent with each BEGIN instead of once
   * per session. Statements outside a transaction then run with the server's own settings. Default true.
   */
  readonly prepare?: boolean
  /** Schemas in which names are looked up. Not behind a pooler: there, set it for the role or the database. */
  readonly searchPath?: string | readonly string[]
  /** What the server shows in `pg_stat_activity`. Default `headwater`. */
  readonly applicationName?: string
}

/** A primary and the replicas that follow it. */
export interface ReplicatedOptions extends PostgresOptions {
  /** Where commands, workers and everything else that writes goes, and queries that no replica may answer. */
  readonly primary: string
  /** Where queries are answered, in turn. One that is down, or is not a replica of this primary, is left out and asked again later. */
  readonly replicas: readonly string[]
  /** What a query does whose token, `latest` or `maxStalenessMs` no replica has reached. Default `primary`: asks the primary at once. */
  readonly whenBehind?: WhenBehind
}

/**
 * A PostgreSQL server (15 or newer) through the package `pg`, which has to be installed. Connects when it is first used, and needs at most
 * `poolSize` connections.
 *
 * @example
 * const database = postgres('postgres://localhost/shop', { poolSize: 20 })
 */
export function postgres(url: string, options?: PostgresOptions): Database
/**
 * The same with replicas (hot standbys that stream from the primary): queries read from them, everything else happens on the primary. A token holds
 * on a replica as it does on the primary. Each server gets at most `poolSize` connections.
 *
 * @example
 * const database = postgres({ primary: 'postgres://db1/shop', replicas: ['postgres://db2/shop', 'postgres://db3/shop'] })
 */
export function postgres(options: ReplicatedOptions): Database
export function postgres(server: string | ReplicatedOptions, options: PostgresOptions = {}): Database {
  if (typeof server === 'string') return openServer(server, options)
  const { primary, replicas, whenBehind = 'primary', ...shared } = server
  if (!['primary', 'wait', 'fail'].includes(whenBehind))
    throw new UsageError(`postgres(): "whenBehind" is 'primary', 'wait' or 'fail', not ${JSON.stringify(whenBehind)}`)
  if (new Set([primary, ...replicas]).size <= replicas.length) {
    throw new UsageError('postgres(): a server is named twice among "primary" and "replicas"')
  }
  if (replicas.length === 0) return openServer(primary, shared)
  return openServer(primary, shared, { each: replicas.map((url) => openServer(url, shared)), whenBehind })
}

function openServer(url: string, options: PostgresOptions, replicas?: ConstructorParameters<typeof PooledDatabase>[2]): PooledDatabase {
  const { poolSize = 10, prepare = true } = options
  if (!prepare && options.searchPath !== undefined) {
    throw new UsageError('postgres(): behind a pooler ("prepare: false") "searchPath" cannot be kept; set it for the role or the database')
  }
  if (!Number.isInteger(poolSize) || poolSize < 1)
    throw new UsageError(`postgres(): "poolSize" must be a whole number from 1, not ${poolSize}`)
  const traits = { description: describe(url), connections: poolSize, survivesPowerLoss: true }
  return new PooledDatabase(new ServerPool(url, options), traits, replicas)
}

class ServerPool implements ConnectionSource {
  readonly localSettings: string
  readonly #url: string
  readonly #options: PostgresOptions
  readonly #names: StatementNames | undefined
  #pool: Promise<pg.Pool> | undefined

  constructor(url: string, options: PostgresOptions) {
    this.#url = url
    this.#options = options
    const keepsSettings = options.prepare ?? true
    this.#names = keepsSettings ? new StatementNames() : undefined
    this.localSettings = keepsSettings
      ? ''
      : settingsOf(options)
          .map(([name, value]) => `; set local ${name} = '${value}'`)
          .join('')
  }

  async acquire(): Promise<PostgresConnection> {
    this.#pool ??= this.#openPool()
    const pool = await this.#pool.catch((error: unknown) => {
      this.#pool = undefined
      throw error
    })
    try {
      return new PostgresConnection(await pool.connect(), this.#names)
    } catch (error) {
      throw failureOf(error, 'connect')
    }
  }

  release(connection: Connection): void {
    if (connection instanceof PostgresConnection) connection.release()
  }

  async close(): Promise<void> {
    const pool = await this.#pool
    await pool?.end()
  }

  async #openPool(): Promise<pg.Pool> {
    const driver = await importPeer('pg', 'postgres()', async () => (await import('pg')).default)
    const { poolSize = 10, connectTimeoutMs = 10_000, applicationName = 'headwater', prepare = true } = this.#options
    const pool = new driver.Pool({
      ...(prepare ? withSettings(this.#url, settingsOf(this.#options)) : { connectionString: this.#url }),
      max: poolSize,
      connectionTimeoutMillis: connectTimeoutMs,
      application_name: applicationName,
      keepAlive: true,
    })
    // A connection that breaks while nobody uses it is dropped by the pool; unheard, the event would end the process.
    pool.on('error', () => {})
    return pool
  }
}

/** Every session has these, so that no role's or database's own settings change what a statement says. */
function settingsOf(options: PostgresOptions): readonly (readonly [name: string, value: string])[] {
  const { idleInTransactionTimeoutMs = 60_000, statementTimeoutMs, searchPath } = options
  return [
    ['TimeZone', 'UTC'],
    ['DateStyle', 'ISO'],
    ['IntervalStyle', 'postgres'],
    ['extra_float_digits', '1'],
    ['idle_in_transaction_session_timeout', String(idleInTransactionTimeoutMs)],
    ['default_transaction_isolation', 'read committed'],
    ...(statementTimeoutMs === undefined ? [] : [['statement_timeout', String(statementTimeoutMs)] as const]),
    ...(searchPath === undefined ? [] : [['search_path', searchPathOf(searchPath)] as const]),
  ]
}

/** The settings travel with the first message of a session, so they cost no round trip; what the URL sets itself comes first. */
function withSettings(url: string, settings: readonly (readonly [name: string, value: string])[]): pg.PoolConfig {
  const [address = url, search = ''] = url.split(/\?(.*)/s)
  const parameters = new URLSearchParams(search)
  const own = parameters.get('options') ?? process.env.PGOPTIONS
  parameters.delete('options')
  const rest = parameters.toString()
  const written = settings.map(([name, value]) => `-c ${name}=${value.replace(/[\\ ]/g, '\\$&')}`)
  return { connectionString: rest ? `${address}?${rest}` : address, options: [...(own ? [own] : []), ...written].join(' ') }
}

/** The address without what is secret in it. */
function describe(url: string): string {
  try {
    const { protocol, username, host, pathname } = new URL(url)
    return `${protocol}//${username ? `${username}@` : ''}${host}${pathname}`
  } catch {
    return 'a PostgreSQL server'
  }
}
