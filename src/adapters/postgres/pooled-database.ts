import { AsyncLocalStorage } from 'node:async_hooks'
import {
  type Database,
  type DatabaseTraits,
  type Row,
  type SqlResult,
  type StatementOptions,
  type Transaction,
  type TransactionOptions,
  UsageError,
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

/** The `Database` port over connections of any kind. */
export class PooledDatabase implements Database {
  readonly traits: DatabaseTraits
  readonly #source: ConnectionSource
  readonly #turnstile: Turnstile
  readonly #current = new AsyncLocalStorage<OpenTransaction>()
  #closing: Promise<void> | undefined

  constructor(source: ConnectionSource, traits: DatabaseTraits) {
    this.#source = source
    this.traits = traits
    this.#turnstile = new Turnstile(traits.connections)
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

  /** Gives a connection to `work` in its turn, also while closing: for the upkeep that an adapter does itself. */
  between(work: (connection: Connection) => Promise<void>): Promise<void> {
    return this.#turnstile.pass(() => this.#lend(work))
  }

  close(): Promise<void> {
    this.#closing ??= this.#turnstile.empty().then(() => this.#source.close())
    return this.#closing
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
