import type { SqlResult } from '../../index.ts'
import { decoderOf } from './value.ts'

/** What a statement answered, as PostgreSQL's own text. */
export interface Answer {
  readonly fields: readonly { readonly name: string; readonly oid: number }[]
  readonly rows: readonly (readonly (string | null)[])[]
  /** The first word of the command tag: `SELECT`, `COMMIT`, ... */
  readonly command: string
  readonly rowCount: number
  /** Where the session stands: idle, in a transaction, in a failed one; undefined when the driver does not tell. */
  readonly status: 'I' | 'T' | 'E' | undefined
}

/** One session with the server. */
export interface Connection {
  /** The driver's own client. */
  readonly raw: unknown
  /** It broke: no statement can reach the server any more, and none that was not answered is known to have run. */
  readonly broken: boolean
  /**
   * Runs one statement, or several when there are no values; answers what the last one said. Rejects with `DatabaseError`, or with
   * `DatabaseUnavailableError` during `statement`. Calls must not overlap.
   */
  run(text: string, values: readonly (string | null)[], prepare: boolean): Promise<Answer>
  /** Marks it as broken, because nobody knows in which state it is. */
  discard(): void
}

/** The answer as the port promises it. */
export function resultOf<R>(answer: Answer, rowMode: 'object' | 'array' = 'object'): SqlResult<R> {
  const columns = answer.fields.map(({ name, oid }) => ({ name, decode: decoderOf(oid) }))
  const valuesOf = (row: readonly (string | null)[]) =>
    columns.map(({ name, decode }, i) => {
      const text = row[i] ?? null
      return text === null ? null : decode(text, name)
    })
  const rows: readonly unknown[] =
    rowMode === 'array'
      ? answer.rows.map(valuesOf)
      : answer.rows.map((row) => {
          const values = valuesOf(row)
          return Object.fromEntries(columns.map(({ name }, i) => [name, values[i]]))
        })
  return { rows: rows as readonly R[], rowCount: answer.rowCount }
}
