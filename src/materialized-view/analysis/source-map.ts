import type { Transaction } from '../../database/database.ts'
import { quote } from '../../database/identifier.ts'
import { DatabaseError } from '../../errors.ts'
import type { KeyMap } from '../materialized-view.ts'
import { frozenMoments, momentRefusal } from './function-rule.ts'
import { isTrue, nodeAt, nodesAt, numberAt, type TreeNode } from './node-tree.ts'
import type { Refusal } from './refusal.ts'
import { bodyOf, type ColumnFact, type RelationFact } from './select-catalog.ts'
import { attempt } from './undo.ts'

/** Which keys a changed row of a table touches, resolved: see `KeyMap`. */
export type SourceMap =
  | { readonly kind: 'key'; readonly columns: readonly string[] }
  | { readonly kind: 'sql'; readonly sql: string; readonly params: readonly { readonly column: string; readonly type: string }[] }
  | { readonly kind: 'all' }

/** Where and for what maps are tried out. */
export interface MapProbe {
  readonly client: Transaction
  /** The beginning of a qualified name, without its last quotation mark: with a number after it, it is free. */
  readonly prefix: string
  readonly appPath: string
  readonly key: readonly { readonly column: string; readonly type: string }[]
}

/** An SQL map with what PostgreSQL made of it. */
export interface ProbedMap {
  readonly map: SourceMap
  /** The map's statement as a tree, and a function that runs it; for SQL alone. */
  readonly probed?: { readonly query: TreeNode; readonly function: string; readonly types: readonly string[] }
}

/** A map that cannot be used, and why. */
export interface WrongMap {
  readonly refusals: readonly Refusal[]
}

/** Resolves the map of one table, or says what is wrong with it. */
export async function resolveMap(probe: MapProbe, table: RelationFact, map: KeyMap, number: number): Promise<ProbedMap | WrongMap> {
  if (map === '*') return { map: { kind: 'all' } }
  const place = `changedBy for ${table.name}`
  const columns = typeof map === 'string' ? [map] : 'sql' in map ? map.params : map
  const facts = columns.map((column) => table.columns.find(({ name }) => name === column))
  const refusals = columns.flatMap((column, i) => columnRefusal(place, table, column, facts[i]))
  if (refusals.length > 0) return { refusals }
  const known = facts.filter((fact) => fact !== undefined)
  if (typeof map !== 'string' && 'sql' in map) return sqlMap(probe, place, map.sql, known, number)
  const refusal = await keyRefusal(probe, place, known, number)
  return refusal ? { refusals: [refusal] } : { map: { kind: 'key', columns } }
}

function columnRefusal(place: string, table: RelationFact, column: string, fact: ColumnFact | undefined): readonly Refusal[] {
  if (!fact) {
    const message = `${place} names the column ${column}, which ${table.name} does not have; it has ${table.columns.map(({ name }) => name).join(', ')}`
    return [{ code: 'unknown_column', subject: `${table.name}.${column}`, message }]
  }
  if (fact.generated !== 'virtual') return []
  const message =
    `${place} names the column ${column}, which is generated when it is read: a trigger cannot see it; generate it STORED, or map the ` +
    'table with SQL over the columns that it is made from'
  return [{ code: 'virtual_column', subject: `${table.name}.${column}`, message }]
}

async function keyRefusal(probe: MapProbe, place: string, columns: readonly ColumnFact[], number: number): Promise<Refusal | undefined> {
  const { client, key, prefix } = probe
  const subject = columns.map(({ name }) => name).join(', ')
  const wanted = key.map(({ column, type }) => `${column} ${type}`).join(', ')
  if (columns.length !== key.length) {
    const message = `${place} names ${columns.length} column(s) (${subject}), but the key has ${key.length} (${wanted}); name one for each, in its order`
    return { code: 'key_columns', subject, message }
  }
  const types = columns.map(({ type }) => type)
  const body = `select ${columns.map((_, i) => `$${i + 1}`).join(', ')}`
  const made = await attempt(client, () => client.query(functionSql(`${prefix}_${number}"`, types, resultOf(key), body)))
  if (!(made instanceof DatabaseError)) return undefined
  const message = `${place}: ${subject} (${types.join(', ')}) cannot be assigned to the key (${wanted}): ${made.message}; name a column of that type, or cast it in SQL`
  return { code: 'key_type', subject, message }
}

/** A function of unnamed arguments, so that PostgreSQL writes `$1`, `$2`, ... when it gives its text back. */
function functionSql(
  name: string,
  types: readonly string[],
  result: { readonly out: readonly string[]; readonly returns: string },
  body: string,
): string {
  return `create function ${name} (${[...types, ...result.out].join(', ')}) returns ${result.returns} language sql stable begin atomic\n${body}\n;\nend`
}

function resultOf(key: MapProbe['key']) {
  const [only, ...others] = key.map(({ type }) => type)
  return only !== undefined && others.length === 0
    ? { out: [], returns: `setof ${only}` }
    : { out: key.map(({ type }) => `out ${type}`), returns: 'setof record' }
}

async function sqlMap(
  probe: MapProbe,
  place: string,
  text: string,
  params: readonly ColumnFact[],
  number: number,
): Promise<ProbedMap | WrongMap> {
  const { client, prefix, key } = probe
  const sql = text.replace(/[;\s]+$/, '')
  const types = params.map(({ type }) => type)
  const untyped = `${prefix}_${number}"`
  const made = await underAppPath(probe, () =>
    attempt(client, () => client.query(functionSql(untyped, types, { out: [], returns: 'void' }, sql))),
  )
  if (made instanceof DatabaseError) {
    const message = `${place}: its SQL is not one SELECT that PostgreSQL accepts with ${types.length} parameter(s): ${made.message}`
    return { refusals: [{ code: 'map_not_parsed', subject: sql, message }] }
  }
  const { body, canonical } = await readBack(client, untyped)
  const query = body[0]
  const refusals = shapeRefusals(place, sql, body, key.length)
  for (const constant of frozenMoments(sql, canonical)) refusals.push(momentRefusal(constant, place))
  if (!query || refusals.length > 0) return { refusals }
  const typed = `${prefix}_${number}_typed"`
  const fits = await underAppPath(probe, () => attempt(client, () => client.query(functionSql(typed, types, resultOf(key), sql))))
  if (fits instanceof DatabaseError) {
    const wanted = key.map(({ type }) => type).join(', ')
    const message = `${place}: what its SQL gives cannot be assigned to the key (${wanted}): ${fits.message}; cast it`
    return { refusals: [{ code: 'map_type', subject: sql, message }] }
  }
  const named = params.map(({ name, type }) => ({ column: name, type }))
  return {
    map: { kind: 'sql', sql: canonical, params: named },
    probed: { query, function: typed, types },
  }
}

function shapeRefusals(place: string, sql: string, body: readonly TreeNode[], wanted: number): Refusal[] {
  const says = (code: string, what: string): Refusal => ({ code, subject: sql, message: `${place}: its SQL ${what}` })
  const query = body[0]
  if (!query || body.length !== 1) return [says('map_not_parsed', 'is not one statement but several; write one SELECT')]
  if (numberAt(query, 'commandType') !== 1) return [says('map_not_parsed', 'is no SELECT; write one that gives the keys')]
  const given = nodesAt(query, 'targetList').filter((entry) => !isTrue(entry, 'resjunk')).length
  const refusals: Refusal[] = []
  if (given !== wanted)
    refusals.push(says('map_columns', `gives ${given} column(s), but the key has ${wanted}; select the key's columns in its order`))
  if (nodeAt(query, 'limitCount') || nodeAt(query, 'limitOffset')) {
    refusals.push(says('map_limit', 'has LIMIT or OFFSET, so keys that a change touches would be left out; remove it'))
  }
  return refusals
}

async function readBack(client: Transaction, name: string): Promise<{ readonly body: readonly TreeNode[]; readonly canonical: string }> {
  const { rows } = await client.query<{ tree: string; text: string }>(
    `select prosqlbody::text as tree, pg_get_function_sqlbody(oid) as text from pg_proc where oid = '${name.replaceAll("'", "''")}'::regproc`,
  )
  const [row] = rows
  return { body: bodyOf(row?.tree ?? '()'), canonical: (row?.text ?? '').replace(/^BEGIN ATOMIC\s*/, '').replace(/\s*;\s*END\s*$/, '') }
}

async function underAppPath<T>({ client, appPath }: MapProbe, work: () => Promise<T>): Promise<T> {
  await client.query(`select set_config('search_path', $1, true)`, [appPath])
  try {
    return await work()
  } finally {
    await client.query(`select set_config('search_path', '', true)`)
  }
}

/** The qualified, quoted name of something in `schema`. */
export function qualified(schema: string, name: string): string {
  return `${quote(schema)}.${quote(name)}`
}
