import { resolve } from 'node:path'
import { type Database, DatabaseUnavailableError } from '../../index.ts'
import { importPeer } from '../../internal/import-peer.ts'
import type { Connection } from './connection.ts'
import { DataDirectory } from './data-directory.ts'
import { PgliteConnection } from './pglite-connection.ts'
import { type HousekeepingOptions, PgliteHousekeeping } from './pglite-housekeeping.ts'
import { type ConnectionSource, PooledDatabase } from './pooled-database.ts'
import { searchPathOf } from './search-path.ts'

/** How PostgreSQL inside the process is run. */
export interface PgliteOptions extends HousekeepingOptions {
  /** Schemas in which names are looked up. Default `public`. */
  readonly searchPath?: string | readonly string[]
}

/**
 * PostgreSQL inside the process, through the package `@electric-sql/pglite`, which has to be installed. It has one connection: transactions
 * queue, and a slow one holds up everybody. Without a directory, or with `memory://`, everything is gone when it is closed. Boots when it is
 * first used; then rejects with `IncompatibleStoreError` when another process holds the directory, or another version of PostgreSQL made it.
 * What was committed survives the death of the process, not that of the machine: PGlite does not wait for the disk.
 *
 * @example
 * const database = pglite('.data')
 */
export function pglite(dataDir?: string, options: PgliteOptions = {}): Database {
  const path = dataDir === undefined || dataDir.startsWith('memory://') ? undefined : resolve(dataDir.replace(/^file:\/\//, ''))
  const engine = new Engine(path, options)
  const database = new PooledDatabase(engine, {
    description: path === undefined ? 'PGlite in memory' : `PGlite in ${path}`,
    connections: 1,
    survivesPowerLoss: false,
  })
  engine.keepHouse((work) => database.between(work))
  return database
}

class Engine implements ConnectionSource {
  readonly #path: string | undefined
  readonly #options: PgliteOptions
  #between: PooledDatabase['between'] | undefined
  #housekeeping: PgliteHousekeeping | undefined
  #directory: DataDirectory | undefined
  #connection: PgliteConnection | undefined

  constructor(path: string | undefined, options: PgliteOptions) {
    this.#path = path
    this.#options = options
  }

  keepHouse(between: PooledDatabase['between']): void {
    this.#between = between
  }

  async acquire(): Promise<Connection> {
    this.#connection ??= await this.#boot()
    if (this.#connection.broken) throw new DatabaseUnavailableError('PGlite has stopped; open the database anew', 'connect')
    return this.#connection
  }

  release(): void {
    this.#housekeeping?.used()
  }

  async close(): Promise<void> {
    await this.#housekeeping?.stop()
    await this.#connection?.close()
    await this.#directory?.release()
  }

  /** Only one caller at a time gets here, because there is only one place in the turnstile. */
  async #boot(): Promise<PgliteConnection> {
    const directory = this.#path === undefined ? undefined : await DataDirectory.hold(this.#path)
    try {
      const open = () => PgliteConnection.open(this.#path)
      const connection = await importPeer('@electric-sql/pglite', 'pglite()', open)
      await connection.run(`set timezone = 'UTC'; set datestyle = 'ISO'${this.#searchPath()}`, [], false)
      await directory?.ready()
      this.#directory = directory
      if (this.#between) this.#housekeeping = new PgliteHousekeeping(this.#between, this.#options)
      return connection
    } catch (error) {
      await directory?.release()
      throw error
    }
  }

  #searchPath(): string {
    const { searchPath } = this.#options
    return searchPath === undefined ? '' : `; set search_path = ${searchPathOf(searchPath)}`
  }
}
