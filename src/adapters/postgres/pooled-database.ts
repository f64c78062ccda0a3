import { AsyncLocalStorage } from 'node:async_hooks'
import {
  type Database,
  type DatabaseTraits,
  type Replica,
  type Replicas,
  type Row,
  type SqlClient,
  type SqlResult,
  type StatementOptions,
  type Transaction,
  type TransactionOptions,
  UsageError,
  type WhenBehind,
} from '../../index.ts'
import { type Connection, resultOf } from './connection.ts'
import { OpenTransaction } from './open-transaction.ts'
import { parameterTexts } from './parameter.ts'
import { Turnstile } from './turnstile.ts'

/** Where connections come from: a pool on a server, the one and only on PGlite. */
export interface ConnectionSource {
  /** At most `traits.connections` are out at a time. */
  acquire(): Promise<Connection>
  /** Takes a connection back; a broken one is thrown away. */
  release(connection: Connection): void
  /** Ends all connections; none is out. */
  close(): Promise<void>
  /** Settings to send along with BEGIN, when sessions cannot keep any. */
  readonly localSettings?: string
}

/** The `Database` port over connections of any kind, and that of a replica. */
export class PooledDatabase implements Database, Replica {
  readonly traits: DatabaseTraits
  readonly replicas: Replicas | undefined
  readonly #followers: readonly PooledDatabase[]
  readonly #source: ConnectionSource
  readonly #turnstile: Turnstile
  readonly #current = new AsyncLocalStorage<OpenTransaction>()
  #closing: Promise<void> | undefined

  constructor(
    source: ConnectionSource,
    traits: DatabaseTraits,
    replicas?: { readonly each: readonly PooledDatabase[]; readonly whenBehind: WhenBehind },
  ) {
    this.#source = source
    this.traits = traits
    this.replicas = replicas
    this.#followers = replicas?.each ?? []
    this.#turnstile = new Turnstile(traits.connections)
  }

  get description(): string {
    return this.traits.description
  }

  async query<R = Row>(text: string, values: readonly unknown[] = [], options: StatementOptions = {}): Promise<SqlResult<R>> {
    const texts = parameterTexts(values)
    const answer = await this.#withConnection(async (connection) => {
      const said = await connection.run(text, texts, options.prepare ?? false)
      if (said.status === 'I' || said.status === undefined) return said
      await new OpenTransaction(connection).rollback()
      throw new UsageError(`a statement left a transaction open, which was rolled back; use transaction(): ${text.slice(0, 80)}`)
    })
    return resultOf<R>(answer, options.rowMode)
  }

  async transaction<T>(work: (transaction: Transaction) => Promise<T>, options: TransactionOptions = {}): Promise<T> {
    return this.#withConnection(async (connection) => {
      await this.#begin(connection, options)
      const transaction = new OpenTransaction(connection)
      let result: T
      try {
        result = await this.#current.run(transaction, () => work(transaction))
      } catch (error) {
        await transaction.rollback()
        throw error
      }
      await transaction.commit()
      return result
    })
  }

  /** What {@link Replica} promises. Behind a pooler too, since the session is never out of a transaction in between. */
  async snapshotAfter<T>(
    first: string,
    judge: (row: Row) => boolean,
    work: (client: SqlClient) => Promise<T>,
  ): Promise<{ readonly value: T } | undefined> {
    return this.#withConnection(async (connection) => {
      const transaction = new OpenTransaction(connection)
      try {
        // A snapshot is taken with the first statement of a REPEATABLE READ transaction, before what that statement asks is looked at.
        const settings = this.#source.localSettings ?? ''
        const said = await connection.run(`begin isolation level read committed read only${settings}; ${first}`, [], false)
        const [row] = resultOf<Row>(said).rows
        if (!row || !judge(row)) {
          await transaction.rollback()
          return undefined
        }
        await connection.run(`commit and chain; set transaction isolation level repeatable read${settings}`, [], false)
        const value = await this.#current.run(transaction, () => work(transaction))
        await transaction.commit()
        return { value }
      } catch (error) {
        await transaction.rollback()
        throw error
      }
    })
  }

  /** Gives a connection to `work` in its turn, also while closing: for the upkeep that an adapter does itself. */
  between(work: (connection: Connection) => Promise<void>): Promise<void> {
    return this.#turnstile.pass(() => this.#lend(work))
  }

  close(): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  async #close(): Promise<void> {
    await this.#turnstile.empty()
    await Promise.all([this.#source.close(), ...this.#followers.map((follower) => follower.close())])
  }

  async #begin(connection: Connection, { isolation = 'read committed', readOnly = false }: TransactionOptions): Promise<void> {
    try {
      await connection.run(
        `begin isolation level ${isolation}${readOnly ? ' read only' : ''}${this.#source.localSettings ?? ''}`,
        [],
        false,
      )
    } catch (error) {
      connection.discard()
      throw error
    }
  }

  async #withConnection<T>(work: (connection: Connection) => Promise<T>): Promise<T> {
    if (this.#closing) throw new UsageError(`the database ${this.traits.description} was closed`)
    // A call that waits for the transaction it stands in would wait for ever on PGlite, and on a server as soon as the pool is empty.
    if (this.#current.getStore()?.isOpen) {
      throw new UsageError('the database was called inside one of its own transactions; use the transaction that was handed in')
    }
    return this.#turnstile.pass(() => this.#lend(work))
  }

  async #lend<T>(work: (connection: Connection) => Promise<T>): Promise<T> {
    const connection = await this.#source.acquire()
    try {
      return await work(connection)
    } finally {
      this.#source.release(connection)
    }
  }
}
