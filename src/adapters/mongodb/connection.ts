import type * as driver from 'mongodb'
import { HeadwaterError } from '../../index.ts'
import { importPeer } from '../../internal/import-peer.ts'
import { Turns } from '../../internal/turns.ts'
import { failureOf } from './failure.ts'

/** What the server is, as it says itself. */
export interface ServerTraits {
  readonly server: 'mongodb' | 'ferretdb'
  readonly version: string
  /** Whether an update is one step with its condition. FerretDB 1 has no such thing: owners in one process at a time are then all that is safe. */
  readonly hasCompareAndSet: boolean
  readonly documentBytesMax: number
}

/** A database, with the parts of the driver that are needed to talk to it. */
export interface Opened {
  readonly client: driver.MongoClient
  readonly database: driver.Db
  readonly driver: typeof driver
  readonly traits: ServerTraits
  /** Of changes to one document. */
  readonly turns: Turns
}

/** A database of a server. Connects when it is first used; the driver opens it again after a break. */
export class MongodbConnection {
  readonly #target: string | driver.MongoClient
  readonly #name: string
  readonly #description: string
  readonly #answerTimeoutMs: number
  #opening: Promise<Opened> | undefined
  #closed = false

  constructor(
    target: string | driver.MongoClient,
    name: string,
    options: { readonly description: string; readonly answerTimeoutMs: number },
  ) {
    this.#target = target
    this.#name = name
    this.#description = options.description
    this.#answerTimeoutMs = options.answerTimeoutMs
  }

  /** @throws {DatabaseUnavailableError} the server cannot be reached */
  async opened(): Promise<Opened> {
    if (this.#closed) throw new HeadwaterError('usage', `${this.#description}: the store is closed`)
    this.#opening ??= this.#open().catch((error: unknown) => {
      this.#opening = undefined
      throw failureOf(error, this.#description, 'connect')
    })
    return this.#opening
  }

  async close(): Promise<void> {
    this.#closed = true
    const opened = await this.#opening?.catch(() => undefined)
    if (typeof this.#target === 'string') await opened?.client.close()
  }

  async #open(): Promise<Opened> {
    const driver = await importPeer('mongodb', 'mongodb()', () => import('mongodb'))
    const isOurs = typeof this.#target === 'string'
    const client = typeof this.#target === 'string' ? new driver.MongoClient(this.#target, limitsOf(this.#answerTimeoutMs)) : this.#target
    try {
      // Whoever reads must not see what a new primary may take back, and what is acknowledged must outlive the machine.
      const database = client.db(this.#name, {
        readPreference: 'primary',
        readConcern: new driver.ReadConcern('majority'),
        writeConcern: { w: 'majority', journal: true },
      })
      return { client, database, driver, traits: traitsOf(await database.admin().command({ buildInfo: 1 })), turns: new Turns() }
    } catch (error) {
      if (isOurs) await client.close()
      throw error
    }
  }
}

/** A server that is gone is noticed, also behind a connection that is half open. */
function limitsOf(answerTimeoutMs: number): driver.MongoClientOptions {
  const connectTimeoutMS = Math.min(10_000, answerTimeoutMs)
  return {
    serverSelectionTimeoutMS: Math.min(5_000, answerTimeoutMs),
    connectTimeoutMS,
    socketTimeoutMS: answerTimeoutMs,
    appName: 'headwater',
  }
}

function traitsOf(info: driver.Document): ServerTraits {
  const isFerret = 'ferretdbVersion' in info || 'ferretdb' in info
  return {
    server: isFerret ? 'ferretdb' : 'mongodb',
    version: String(isFerret ? (info.ferretdbVersion ?? info.ferretdb?.version) : info.version),
    hasCompareAndSet: !isFerret,
    documentBytesMax: Number(info.maxBsonObjectSize ?? 16 * 1024 * 1024),
  }
}
