import type { Refusal } from './refusal.ts'
import type { RelationFact } from './select-catalog.ts'

/** Why changes of a table that the SELECT (or a map) reads could not be seen, or undefined. */
export function sourceRefusal(relation: RelationFact, place: string): Refusal | undefined {
  const { name } = relation
  const says = (code: string, why: string): Refusal => ({ code, subject: name, message: `${place} reads ${name}, ${why}` })
  if (relation.system) return says('system_table', "a table of PostgreSQL's own, on which no trigger can be; leave it out")
  const kind = kindRefusal(relation.kind, relation.persistence)
  if (kind) return says(kind.code, kind.why)
  for (const leaf of relation.leaves) {
    const refusal = kindRefusal(leaf.kind, leaf.persistence)
    if (refusal) return says(refusal.code, `whose part ${leaf.name} is ${refusal.why.replace(/^an? /, 'a ')}`)
  }
  if (relation.rowSecurity) {
    return says(
      'row_security',
      'where row-level security hides rows from the role that Headwater runs as; let that role own the table without FORCE ROW LEVEL ' +
        'SECURITY, or give it BYPASSRLS',
    )
  }
  return undefined
}

function kindRefusal(kind: string, persistence: string): { readonly code: string; readonly why: string } | undefined {
  if (kind === 'm')
    return { code: 'materialized_view', why: 'a materialized view, which tells nobody when it changes; read the tables beneath it' }
  if (kind === 'f') return { code: 'foreign_table', why: 'a foreign table, whose changes happen elsewhere; copy it into a table first' }
  if (kind !== 'r' && kind !== 'p' && kind !== 'v') return { code: 'not_a_table', why: 'which is no table; read tables only' }
  if (persistence === 't') return { code: 'temporary_table', why: 'a temporary table, which other sessions cannot see; make it permanent' }
  if (persistence === 'u') {
    return { code: 'unlogged_table', why: 'an unlogged table, which a crash empties without a trace; use alter table ... set logged' }
  }
  return undefined
}
