import type { SqlResult } from '../../index.ts'

/** What a statement answered, its values as the port promises them. */
export interface Answer {
  readonly columns: readonly string[]
  readonly rows: readonly (readonly unknown[])[]
  /** Of a value that is more than the port can give. */
  readonly refusal: Error | undefined
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

/**
 * The answer as the port promises it.
 * @throws {DatabaseError} a value that cannot be given as it is
 */
export function resultOf<R>({ columns, rows, rowCount, refusal }: Answer, rowMode: 'object' | 'array' = 'object'): SqlResult<R> {
  if (refusal) throw refusal
  const given: readonly unknown[] = rowMode === 'array' ? rows : rows.map(objectOf(columns))
  return { rows: given as readonly R[], rowCount }
}

function objectOf(columns: readonly string[]): (values: readonly unknown[]) => object {
  // To set this one would set the prototype.
  if (columns.includes('__proto__')) return (values) => Object.fromEntries(columns.map((name, i) => [name, values[i]]))
  return (values) => {
    const row: Record<string, unknown> = {}
    for (let i = 0; i < columns.length; i++) row[columns[i] as string] = values[i]
    return row
  }
}
