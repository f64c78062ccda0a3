import { quote } from '../database/identifier.ts'
import { DatabaseError, DefinitionError, InvalidInputError } from '../errors.ts'
import { memberNames, parse, type Schema } from '../message/schema.ts'
import { afterKeys } from '../read-model/key-text.ts'
import type { ViewRuntime, ViewVersion } from './registry.ts'
import { storedView } from './stored-view.ts'

/**
 * Refuses a row schema that names what the SELECT does not give, where the schema's library can list its names.
 * @throws {DefinitionError}
 */
export function checkRowNames(name: string, row: Schema, columns: readonly { readonly name: string }[]): void {
  const given = columns.map((column) => column.name)
  const missing = (memberNames(row) ?? []).filter((member) => !given.includes(member))
  if (missing.length === 0) return
  throw new DefinitionError(
    `materialized view ${name}: "row" names ${missing.join(', ')}, which its SELECT does not give; it gives ${given.join(', ')}`,
  )
}

/** What is wrong with the first row by its schema, or undefined: types are the schema author's word, and this catches a wrong one early. */
export async function firstRowFault(runtime: ViewRuntime, version: ViewVersion, row: Schema): Promise<string | undefined> {
  try {
    const first = await firstRow(runtime, version)
    if (first !== undefined) await parse(`${version.name}: a row`, row, first)
    return undefined
  } catch (error) {
    if (error instanceof InvalidInputError) return error.message
    // A value that JSON cannot hold is told to whoever reads that row.
    if (error instanceof DatabaseError && error.sqlState === '22003') return undefined
    throw error
  }
}

async function firstRow(runtime: ViewRuntime, version: ViewVersion): Promise<unknown> {
  if (version.store === null) {
    return (await runtime.database.query(`select * from ${quote(runtime.schema)}.${quote(version.table)} limit 1`)).rows[0]
  }
  const view = storedView(runtime, version)
  const first = (await view?.store.range(view.model, { index: undefined, from: '', to: afterKeys, reverse: false, limit: 1 }))?.rows[0]
  return first && JSON.parse(first.row)
}
