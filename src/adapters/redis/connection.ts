import type { RedisClientType } from 'redis'
import { HeadwaterError, IncompatibleStoreError, isHeadwaterError } from '../../index.ts'
import { importPeer } from '../../internal/import-peer.ts'
import { failureOf } from './failure.ts'
import type { Script } from './scripts.ts'

interface Call {
  readonly keys: string[]
  readonly arguments: string[]
}

/** What is used of a client of the package `redis`: a `createClient()`, or a `createCluster()`. */
export interface RedisClient {
  readonly isOpen: boolean
  connect(): Promise<unknown>
  close(): Promise<unknown>
  destroy?(): void
  evalSha(sha: string, options: Call): Promise<unknown>
  eval(script: string, options: Call): Promise<unknown>
  hmGet(key: string, fields: string[]): Promise<readonly (string | null)[]>
  info?(section?: string): Promise<unknown>
  configGet?(name: string): Promise<Readonly<Record<string, string>>>
  on(event: string, listener: (...args: unknown[]) => void): unknown
}

/** How a connection is kept. */
export interface ConnectionOptions {
  /** Whether the client was opened here, and is closed here. */
  readonly isOurs: boolean
  readonly description: string
  /** How long the server may be silent while it owes an answer. */
  readonly answerTimeoutMs: number
}

/** What a server takes as one value when it does not say. */
const valueBytesMax = 512 * 1024 * 1024

/** Scripts on a server that keeps what it is given. Opens the connection when it is first used, and again after it broke. */
export class RedisConnection<C extends RedisClient> {
  readonly #open: () => Promise<C>
  readonly #options: ConnectionOptions
  readonly #description: string
  #client: Promise<C> | undefined
  /** Of the client, once it is open and its server has been looked at. */
  #ready: C | undefined
  #closed = false
  /** Answers that are owed. */
  #owed = 0
  /** When the last answer came, or when the first was owed. */
  #heardAt = 0
  #watch: ReturnType<typeof setInterval> | undefined
  /** The largest value that the server takes. */
  valueBytesMax = valueBytesMax

  constructor(open: () => Promise<C>, options: ConnectionOptions) {
    this.#open = open
    this.#options = options
    this.#description = options.description
  }

  /** @throws {DatabaseUnavailableError} the server cannot be reached; @throws {IncompatibleStoreError} it may drop keys by itself */
  async client(): Promise<C> {
    if (this.#ready) return this.#ready
    if (this.#closed) throw new HeadwaterError('usage', `${this.#description}: the store is closed`)
    this.#client ??= this.#connect().catch((error: unknown) => {
      this.#client = undefined
      throw failureOf(error, this.#description, 'connect')
    })
    const client = await this.#client
    await this.#answered(this.#inspect(client))
    this.#ready = client
    return client
  }

  /** Runs a script by its hash, and by its text where the server does not know it. */
  async run(script: Script, keys: string[], values: string[], during: 'statement' | 'commit' = 'statement'): Promise<unknown> {
    const client = this.#ready ?? (await this.client())
    const call = { keys, arguments: values }
    try {
      return await this.#answered(client.evalSha(script.sha, call))
    } catch (error) {
      if (!(error instanceof Error && error.message.startsWith('NOSCRIPT'))) throw failureOf(error, this.#description, during)
    }
    return this.#answered(client.eval(script.text, call)).catch((error: unknown) => {
      throw failureOf(error, this.#description, during)
    })
  }

  /** Some fields of a hash, in one step of the server. */
  async fields(key: string, names: string[]): Promise<readonly (string | null)[]> {
    const client = this.#ready ?? (await this.client())
    this.#owe()
    try {
      return await client.hmGet(key, names)
    } catch (error) {
      throw failureOf(error, this.#description, 'statement')
    } finally {
      this.#hear()
    }
  }

  async close(): Promise<void> {
    this.#closed = true
    this.#ready = undefined
    const client = this.#client
    this.#client = undefined
    if (client && this.#options.isOurs) await client.then((open) => this.#closeOurs(open)).catch(() => {})
  }

  /** Waits for answers that are owed, but not for those that will never come. */
  async #closeOurs(client: C): Promise<void> {
    if (!client.isOpen) return
    const patience = setTimeout(() => client.destroy?.(), this.#options.answerTimeoutMs)
    await client.close().finally(() => clearTimeout(patience))
  }

  /**
   * Behind a connection that is half open no answer ever comes, and what is sent meanwhile keeps the socket's own timeout from running out. A client of ours
   * is given up then, which fails everything that waits for it; the next call opens another.
   */
  #owe(): void {
    if (!this.#options.isOurs) return
    if (this.#owed++ === 0) this.#heardAt = performance.now()
    this.#watch ??= setInterval(() => this.#look(), Math.min(1_000, this.#options.answerTimeoutMs / 2)).unref()
  }

  #hear(): void {
    if (!this.#options.isOurs) return
    this.#owed--
    this.#heardAt = performance.now()
  }

  async #answered<T>(answer: Promise<T>): Promise<T> {
    this.#owe()
    try {
      return await answer
    } finally {
      this.#hear()
    }
  }

  #look(): void {
    if (this.#owed === 0) {
      clearInterval(this.#watch)
      this.#watch = undefined
      return
    }
    if (performance.now() - this.#heardAt < this.#options.answerTimeoutMs) return
    const client = this.#client
    this.#client = undefined
    this.#ready = undefined
    void client?.then((silent) => silent.isOpen && silent.destroy?.()).catch(() => undefined)
  }

  async #connect(): Promise<C> {
    const client = await this.#open()
    // Unheard, the event would end the process; what fails is told by the call that fails.
    client.on('error', () => {})
    // Behind the same address another server may answer after a break.
    client.on('reconnecting', () => {
      this.#ready = undefined
    })
    if (!client.isOpen) await client.connect()
    return client
  }

  /** A server that drops keys when memory runs short would leave a read model with holes that nothing shows. */
  async #inspect(client: C): Promise<void> {
    if (!client.info) return
    const config = await client.configGet?.('proto-max-bulk-len').catch(() => undefined)
    this.valueBytesMax = Number(config?.['proto-max-bulk-len'] ?? valueBytesMax)
    let refusal = ''
    const info = await client.info('memory').catch((error: unknown) => {
      const failure = failureOf(error, this.#description, 'connect')
      if (!(isHeadwaterError(failure) && failure.code === 'store_error')) throw failure
      refusal = `: ${failure.message}`
    })
    const policy = /^maxmemory_policy:(\S+)/m.exec(String(info))?.[1]
    // No key of ours has an end of its own: `volatile-*` drops none of them.
    if (policy && !policy.startsWith('allkeys')) return
    throw new IncompatibleStoreError(
      'other_version',
      policy
        ? `${this.#description}: this server may drop any key when its memory runs short (maxmemory-policy ${policy}); read models need maxmemory-policy noeviction`
        : `${this.#description}: this server does not say which keys it drops when its memory runs short (INFO memory${refusal}); read models need maxmemory-policy noeviction`,
    )
  }
}

/** A client of our own: it gives up at once what cannot be sent, and notices a connection that is half open. */
export async function openClient(url: string, answerTimeoutMs: number): Promise<RedisClientType> {
  const { createClient } = await importPeer('redis', 'redis()', () => import('redis'))
  let wasOpen = false
  const client = createClient({
    url,
    disableOfflineQueue: true,
    pingInterval: 5_000,
    // A timer for each command, until it is on its way, would cost a third as much as the command; a server that is silent is noticed above.
    commandOptions: { timeout: 0 },
    socket: {
      connectTimeout: 10_000,
      socketTimeout: answerTimeoutMs * 1.5,
      reconnectStrategy: (retries, cause) => (wasOpen ? Math.min(20 * 2 ** retries, 1_000) : cause),
    },
  })
  client.on('ready', () => {
    wasOpen = true
  })
  return client as RedisClientType
}
