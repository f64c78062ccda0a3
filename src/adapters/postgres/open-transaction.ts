import {
  DatabaseError,
  DatabaseUnavailableError,
  type Row,
  type SqlResult,
  type StatementOptions,
  type Transaction,
  UsageError,
} from '../../index.ts'
import { type Answer, type Connection, resultOf } from './connection.ts'
import { parameterTexts } from './parameter.ts'

/** A transaction from BEGIN to COMMIT or ROLLBACK. Statements run one after another, in the order of the calls. */
export class OpenTransaction implements Transaction {
  readonly #connection: Connection
  #last: Promise<unknown> = Promise.resolve()
  #open = true
  #endedBy: string | undefined

  constructor(connection: Connection) {
    this.#connection = connection
  }

  get raw(): unknown {
    return this.#connection.raw
  }

  /** Whether statements may still be sent. */
  get isOpen(): boolean {
    return this.#open
  }

  async query<R = Row>(text: string, values: readonly unknown[] = [], options: StatementOptions = {}): Promise<SqlResult<R>> {
    if (!this.#open) throw new UsageError('the transaction has ended; await every statement inside the function that was given it')
    const texts = parameterTexts(values)
    const answer = await this.#queue(() => this.#connection.run(text, texts, options.prepare ?? false))
    if (answer.status === 'I') {
      this.#endedBy ??= text.slice(0, 80)
      throw new UsageError(`the transaction was ended by a statement of its own: ${this.#endedBy}`)
    }
    return resultOf<R>(answer, options.rowMode)
  }

  /** Commits after the statements under way. A failed transaction that `work` took for a good one is an error. */
  async commit(): Promise<void> {
    this.#open = false
    const { command } = await this.#queue(() => this.#sendCommit())
    if (this.#endedBy !== undefined) throw new UsageError(`the transaction was ended by a statement of its own: ${this.#endedBy}`)
    if (command === 'ROLLBACK') {
      throw new DatabaseError(
        '25P02',
        'the transaction was rolled back: one of its statements had failed, and the error was caught without rolling back to a savepoint',
      )
    }
  }

  /** Rolls back after the statements under way. Never rejects: a connection that cannot is discarded. */
  async rollback(): Promise<void> {
    this.#open = false
    try {
      await this.#queue(async () => {
        if (!this.#connection.broken) await this.#connection.run('rollback', [], false)
      })
    } catch {
      this.#connection.discard()
    }
  }

  async #sendCommit(): Promise<Answer> {
    if (this.#connection.broken) throw new DatabaseUnavailableError('the connection broke before the commit was sent', 'statement')
    try {
      return await this.#connection.run('commit', [], false)
    } catch (error) {
      if (!(error instanceof DatabaseUnavailableError)) throw error
      throw new DatabaseUnavailableError(error.message, 'commit', { cause: error })
    }
  }

  #queue<T>(work: () => Promise<T>): Promise<T> {
    const run = this.#last.then(work, work)
    this.#last = run.catch(() => {})
    return run
  }
}
