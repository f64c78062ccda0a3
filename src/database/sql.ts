import type { Row, SqlClient } from './database.ts'
import { isTable, type Table } from './identifier.ts'

/**
 * A tagged template that runs a statement: values become parameters, never text. A read model of `reads` (or a {@link Table}) stands
 * for its table. Resolves to the rows.
 *
 * @example
 * const [author] = await sql<{ name: string }>`select name from users where id = ${authorId}`
 */
export type Sql = <R = Row>(text: TemplateStringsArray, ...values: readonly unknown[]) => Promise<readonly R[]>

/** A template's text with `$1`, `$2`, ... and its parameters. */
export function statement(
  text: TemplateStringsArray,
  values: readonly unknown[],
): { readonly text: string; readonly values: readonly unknown[] } {
  const parameters: unknown[] = []
  let written = text[0] ?? ''
  values.forEach((value, i) => {
    if (isTable(value)) written += (value as Table).toSql()
    else written += `$${parameters.push(value)}`
    written += text[i + 1] ?? ''
  })
  return { text: written, values: parameters }
}

/** The `sql` tag that runs on `client`. */
export function sqlOn(client: SqlClient): Sql {
  return async <R>(text: TemplateStringsArray, ...values: readonly unknown[]) => {
    const asked = statement(text, values)
    return (await client.query<R>(asked.text, asked.values, { prepare: true })).rows
  }
}
