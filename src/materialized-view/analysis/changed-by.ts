import type { Transaction } from '../../database/database.ts'
import { DatabaseError } from '../../errors.ts'
import type { KeyMap, ViewDefinition } from '../materialized-view.ts'
import type { Refusal } from './refusal.ts'
import { attempt } from './undo.ts'

export interface NamedTable {
  /** As the definition writes it. */
  readonly name: string
  readonly oid: number
  /** `relkind`. */
  readonly kind: string
}

/** The tables that `changedBy` and `reads` name, found on the search path. */
export interface NamedTables {
  readonly changedBy: readonly (NamedTable & { readonly map: KeyMap })[]
  readonly reads: readonly NamedTable[]
  readonly refusals: readonly Refusal[]
}

export async function namedTables(client: Transaction, definition: ViewDefinition): Promise<NamedTables> {
  const refusals: Refusal[] = []
  const find = async (place: string, name: string): Promise<NamedTable | undefined> => {
    const found = await tableNamed(client, name)
    if (!found) {
      const message = `${place} names ${name}, but there is no such table on the search path; write its name as in SQL, with quotes if it has capitals`
      refusals.push({ code: 'unknown_table', subject: name, message })
    }
    return found
  }
  const changedBy: (NamedTable & { readonly map: KeyMap })[] = []
  for (const [name, map] of Object.entries(definition.changedBy)) {
    const found = await find('"changedBy"', name)
    const twin = changedBy.find(({ oid }) => oid === found?.oid)
    if (twin)
      refusals.push({
        code: 'mapped_twice',
        subject: name,
        message: `"changedBy" names one table twice, as ${twin.name} and as ${name}; keep one`,
      })
    else if (found) changedBy.push({ ...found, map })
  }
  const reads: NamedTable[] = []
  for (const name of definition.reads) {
    const found = await find('"reads"', name)
    if (found) reads.push(found)
  }
  return { changedBy, reads, refusals }
}

async function tableNamed(client: Transaction, name: string): Promise<NamedTable | undefined> {
  const sql = `select oid::int8 as oid, relkind::text as kind from pg_class where oid = to_regclass($1)`
  const found = await attempt(client, () => client.query<{ oid: number; kind: string }>(sql, [name]))
  const row = found instanceof DatabaseError ? undefined : found.rows[0]
  return row && { name, oid: Number(row.oid), kind: row.kind }
}
