import type pg from 'pg'
import type { Answer, Connection } from './connection.ts'
import { Decoding } from './decoding.ts'
import { failureOf, isFatal, isServerFailure, isStalePlan } from './failure.ts'
import type { StatementNames } from './statement-names.ts'

/** What `pg` answers: one result, or one per statement of the text. */
type Result = pg.QueryArrayResult<unknown[]>

/** A session with a server through `pg`, while it is checked out of the pool. */
export class PostgresConnection implements Connection {
  readonly raw: pg.PoolClient
  readonly #names: StatementNames | undefined
  #broken = false
  #lastWords: Error | undefined
  readonly #onError = (error: Error) => {
    this.#broken = true
    this.#lastWords ??= error
  }

  /** Without `names` nothing is kept prepared. */
  constructor(client: pg.PoolClient, names: StatementNames | undefined) {
    this.raw = client
    this.#names = names
    client.on('error', this.#onError)
  }

  get broken(): boolean {
    return this.#broken
  }

  discard(): void {
    this.#broken = true
  }

  /** Gives the client back to its pool, which ends it when it is broken. */
  release(): void {
    this.raw.release(this.#broken)
    this.raw.off('error', this.#onError)
  }

  async run(text: string, values: readonly (string | null)[], prepare: boolean): Promise<Answer> {
    const name = prepare ? this.#names?.nameOf(text, values) : undefined
    const inTransaction = this.#status() !== 'I'
    try {
      return await this.#send(text, values, name)
    } catch (error) {
      if (name === undefined || !isServerFailure(error) || !isStalePlan(error)) throw this.#failure(error)
      this.#names?.forget()
      if (inTransaction) throw this.#failure(error)
    }
    return this.#send(text, values, undefined).catch((error: unknown) => Promise.reject(this.#failure(error)))
  }

  async #send(text: string, values: readonly (string | null)[], name: string | undefined): Promise<Answer> {
    const decoding = new Decoding()
    const config: pg.QueryArrayConfig = {
      text,
      types: { getTypeParser: (oid: number) => decoding.column(oid) },
      rowMode: 'array',
      ...(values.length > 0 && { values: [...values] }),
      ...(name !== undefined && { name }),
    }
    const said: Result | Result[] = await this.raw.query<unknown[]>(config)
    const results = Array.isArray(said) ? said : [said]
    const result = results.at(-1)
    return {
      columns: namesOf(result),
      rows: result?.rows ?? [],
      refusal: decoding.refusal(results.flatMap(namesOf)),
      command: result?.command ?? '',
      rowCount: result?.rowCount ?? 0,
      status: this.#status(),
    }
  }

  /** Undefined with versions of `pg` that do not tell. */
  #status(): Answer['status'] {
    return this.raw.getTransactionStatus?.() ?? undefined
  }

  #failure(error: unknown): Error {
    const atServer = isServerFailure(error)
    if (!atServer || isFatal(error)) this.#broken = true
    return failureOf(atServer ? error : (this.#lastWords ?? error), 'statement')
  }
}

function namesOf(result: Result | undefined): readonly string[] {
  return result?.fields.map(({ name }) => name) ?? []
}
