import { execFile } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { OwnCluster, programs } from './own-cluster.ts'

const run = promisify(execFile)

/** A server of a test's own with any number of databases, which are dumped, dropped and restored, and which crashes. */
export class PostgresServer {
  readonly #cluster: OwnCluster
  readonly #directory: string
  #dumps = 0

  private constructor(cluster: OwnCluster, directory: string) {
    this.#cluster = cluster
    this.#directory = directory
  }

  static async start(): Promise<PostgresServer> {
    return new PostgresServer(await OwnCluster.primary(['max_connections=200']), await mkdtemp(join(tmpdir(), 'headwater-dumps-')))
  }

  url(database = 'postgres'): string {
    const url = new URL(this.#cluster.url)
    url.pathname = database
    return url.href
  }

  /** As `pg_ctl stop -m immediate`: no checkpoint is written, and the next start recovers. */
  async crash(): Promise<void> {
    await this.#cluster.crash()
  }

  async start(): Promise<void> {
    await this.#cluster.start()
  }

  async createDatabase(name: string): Promise<string> {
    await this.#cluster.query(`create database ${name}`)
    return this.url(name)
  }

  /** Whoever is connected is thrown out. */
  async dropDatabase(name: string): Promise<void> {
    await this.#cluster.query(`drop database ${name} with (force)`)
  }

  /** Into a file of its own, whose path it answers. */
  async dump(database: string): Promise<string> {
    const file = join(this.#directory, `${database}-${this.#dumps++}.dump`)
    await run(join(programs ?? '', 'pg_dump'), ['--format', 'custom', '--file', file, this.url(database)])
    return file
  }

  /** Into a new database. */
  async restore(file: string, database: string): Promise<string> {
    const url = await this.createDatabase(database)
    await run(join(programs ?? '', 'pg_restore'), ['--exit-on-error', '--dbname', url, file])
    return url
  }

  async remove(): Promise<void> {
    await this.#cluster.remove()
    await rm(this.#directory, { recursive: true, force: true })
  }
}
