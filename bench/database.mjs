import { createHash } from 'node:crypto'
import pg from 'pg'

/** @typedef {import('pg').Pool} Pool */

/** Opens pools and schemas for one benchmark, and takes all of them away again. */
export class Workplace {
  #url
  #prefix
  /** @type {Pool[]} */
  #open = []
  /** @type {string[]} */
  #schemas = []
  /** @type {string[]} */
  #databases = []
  /** @type {(() => Promise<unknown>)[]} */
  #closers = []
  /** @type {Promise<void> | undefined} */
  #closing

  /** @param {string} url @param {string} name of the benchmark */
  constructor(url, name) {
    this.#url = url
    this.#prefix = `bench_${name.replaceAll('-', '_')}_${process.pid}`
  }

  get url() {
    return this.#url
  }

  /**
   * A name of this benchmark's own for a schema, which goes with it. It is not created.
   * @param {string} name
   */
  schema(name) {
    const made = `${this.#prefix}_${name}`.slice(0, 40)
    this.#schemas.push(made)
    return made
  }

  /**
   * Creates a database of this benchmark's own on the same server, which goes with it: for peers that want one. Its address.
   * @param {string} name
   */
  async database(name) {
    const made = `${this.#prefix}_${name}`.slice(0, 60)
    await this.#server((client) => client.query(`create database ${made}`))
    this.#databases.push(made)
    const url = new URL(this.#url)
    url.pathname = `/${made}`
    return url.href
  }

  /**
   * Connections of the driver itself, in which names are looked up in `searchPath`.
   * @param {number} size
   * @param {string} searchPath
   */
  pool(size, searchPath) {
    const pool = new pg.Pool({
      connectionString: this.#url,
      max: size,
      options: `-c search_path=${searchPath}`,
      application_name: 'headwater bench',
    })
    this.#open.push(pool)
    return pool
  }

  /** @param {() => Promise<unknown>} close called when the benchmark is over, the last one first */
  onClose(close) {
    this.#closers.push(close)
  }

  /** Once, however often it is called. */
  close() {
    this.#closing ??= this.#close()
    return this.#closing
  }

  async #close() {
    for (const close of this.#closers.reverse()) await close().catch(() => {})
    for (const pool of this.#open) await pool.end()
    await this.#server(async (client) => {
      await client.query(`set client_min_messages = warning`)
      for (const schema of this.#schemas.reverse()) await client.query(`drop schema if exists ${schema} cascade`)
      for (const name of this.#databases) await client.query(`drop database if exists ${name} with (force)`)
    })
  }

  /** @param {(client: import('pg').Client) => Promise<unknown>} work */
  async #server(work) {
    const client = new pg.Client(this.#url)
    await client.connect()
    await work(client).finally(() => client.end())
  }
}

/**
 * Runs a statement prepared on its connection.
 * @param {Pool | import('pg').ClientBase} client
 * @param {string} text
 * @param {readonly unknown[]} values
 */
export function prepared(client, text, values = []) {
  return client.query({ name: nameOf(text), text, values: [...values] })
}

/** @type {Map<string, string>} */
const names = new Map()

/** @param {string} text */
function nameOf(text) {
  const known = names.get(text)
  if (known) return known
  const made = `b${createHash('md5').update(text).digest('hex').slice(0, 16)}`
  names.set(text, made)
  return made
}

/**
 * The nth id of a kind: the same in SQL, `md5('post' || n)::uuid`.
 * @param {string} kind
 * @param {number} n from 1
 */
export function idOf(kind, n) {
  const hex = createHash('md5').update(`${kind}${n}`).digest('hex')
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`
}
