import type { SqlClient } from '../../database/database.ts'
import { eachNode, nodeAt, numberAt, parseNodeTree, type TreeNode, type TreeValue, wordAt } from './node-tree.ts'
import { entryKind } from './query-tree.ts'

/** A column of a table. */
export interface ColumnFact {
  readonly number: number
  readonly name: string
  /** The name, quoted where it has to be. */
  readonly quoted: string
  /** Qualified, with its modifier. */
  readonly type: string
  readonly generated: '' | 'stored' | 'virtual'
  /** The columns that a generated column is made from. */
  readonly madeFrom: readonly number[]
}

/** What PostgreSQL's catalogue says of a table, view or the like. */
export interface RelationFact {
  readonly oid: number
  /** Qualified and quoted. */
  readonly name: string
  /** `relkind`. */
  readonly kind: string
  /** `relpersistence`. */
  readonly persistence: string
  readonly system: boolean
  readonly rowSecurity: boolean
  readonly tuples: number
  readonly columns: readonly ColumnFact[]
  readonly primaryKey: readonly string[]
  /** Partitions and inheriting tables, at any depth. */
  readonly leaves: readonly { readonly oid: number; readonly name: string; readonly kind: string; readonly persistence: string }[]
  /** The columns that lead an index over all rows. */
  readonly indexed: readonly string[]
  /** What a view selects. */
  readonly query: TreeNode | undefined
}

export interface FunctionFact {
  readonly name: string
  /** With its argument types, qualified. */
  readonly signature: string
  readonly arguments: number
  readonly system: boolean
  readonly volatility: 'i' | 's' | 'v'
  readonly ofExtension: boolean
  /** The statements of a BEGIN ATOMIC body. */
  readonly body: readonly TreeNode[] | undefined
}

/** What PostgreSQL knows of everything that some queries name, however deep in views and functions. */
export interface Catalog {
  readonly relations: ReadonlyMap<number, RelationFact>
  readonly functions: ReadonlyMap<number, FunctionFact>
  readonly operators: ReadonlyMap<number, { readonly function: number; readonly equality: boolean }>
  /** The functions that read and write a type's text. */
  readonly conversions: ReadonlyMap<number, { readonly input: number; readonly output: number }>
}

interface Names {
  readonly relations: Set<number>
  readonly functions: Set<number>
  readonly operators: Set<number>
  readonly types: Set<number>
}

/** Reads the catalogue for all that `roots` name, and for the tables `tables` besides. The search path must be empty. */
export async function loadCatalog(client: SqlClient, roots: readonly TreeValue[], tables: readonly number[]): Promise<Catalog> {
  const relations = new Map<number, RelationFact>()
  const functions = new Map<number, FunctionFact>()
  const operators = new Map<number, { readonly function: number; readonly equality: boolean }>()
  const conversions = new Map<number, { readonly input: number; readonly output: number }>()
  let names = namesIn(roots)
  for (const oid of tables) names.relations.add(oid)
  while (names.relations.size + names.functions.size + names.operators.size + names.types.size > 0) {
    for (const [oid, fact] of await loadOperators(client, missing(names.operators, operators))) {
      operators.set(oid, fact)
      names.functions.add(fact.function)
    }
    for (const [oid, fact] of await loadConversions(client, missing(names.types, conversions))) {
      conversions.set(oid, fact)
      names.functions.add(fact.input).add(fact.output)
    }
    const found: TreeValue[] = []
    for (const fact of await loadRelations(client, missing(names.relations, relations))) {
      relations.set(fact.oid, fact)
      if (fact.query) found.push(fact.query)
    }
    for (const [oid, fact] of await loadFunctions(client, missing(names.functions, functions))) {
      functions.set(oid, fact)
      found.push(...(fact.body ?? []))
    }
    names = namesIn(found)
  }
  return { relations, functions, operators, conversions }
}

function missing(wanted: ReadonlySet<number>, known: ReadonlyMap<number, unknown>): readonly number[] {
  return [...wanted].filter((oid) => oid !== 0 && !known.has(oid))
}

/** The fields of nodes that hold the oid of a function, and of an operator. */
export const functionFields = ['funcid', 'opfuncid', 'aggfnoid', 'winfnoid'] as const
export const operatorFields = ['opno', 'eqop', 'sortop'] as const

function namesIn(roots: readonly TreeValue[]): Names {
  const names: Names = { relations: new Set(), functions: new Set(), operators: new Set(), types: new Set() }
  for (const root of roots) {
    eachNode(root, (node) => {
      if (node.type === 'RANGETBLENTRY' && numberAt(node, 'rtekind') === entryKind.table) names.relations.add(numberAt(node, 'relid'))
      for (const field of functionFields) names.functions.add(numberAt(node, field))
      for (const oid of operatorsOf(node)) names.operators.add(oid)
      const { from, to } = castTypes(node)
      names.types.add(from).add(to)
      return true
    })
  }
  for (const set of [names.relations, names.functions, names.operators, names.types]) set.delete(0)
  return names
}

/** The operators that a node applies. */
export function operatorsOf(node: TreeNode): readonly number[] {
  const several = node.fields.get('opnos')
  const rows = Array.isArray(several) ? several.map(Number) : []
  return [...operatorFields.map((field) => numberAt(node, field)), ...rows].filter((oid) => oid !== 0)
}

const typeFields = [
  'vartype',
  'funcresulttype',
  'consttype',
  'opresulttype',
  'aggtype',
  'wintype',
  'resulttype',
  'casetype',
  'coalescetype',
]

/** A cast by way of text writes the text of one type and reads it as another. 0 where that is not to be seen. */
export function castTypes(node: TreeNode): { readonly from: number; readonly to: number } {
  if (node.type !== 'COERCEVIAIO') return { from: 0, to: 0 }
  const argument = nodeAt(node, 'arg')
  const from = typeFields.map((field) => (argument ? numberAt(argument, field) : 0)).find((oid) => oid !== 0)
  return { from: from ?? 0, to: numberAt(node, 'resulttype') }
}

const oids = (list: readonly number[]) => `any ('{${list.join(',')}}'::oid[])`

/** Objects below this oid came with PostgreSQL. */
const firstUserOid = 16384

async function loadOperators(client: SqlClient, wanted: readonly number[]) {
  if (wanted.length === 0) return []
  const { rows } = await client.query<{ oid: number; function: number; equality: boolean }>(`
    select o.oid::int8 as oid, o.oprcode::oid::int8 as function, exists (
      select from pg_amop a join pg_am m on m.oid = a.amopmethod where a.amopopr = o.oid and m.amname = 'btree' and a.amopstrategy = 3
    ) as equality
    from pg_operator o where o.oid = ${oids(wanted)}`)
  return rows.map((row) => [Number(row.oid), { function: Number(row.function), equality: row.equality }] as const)
}

async function loadConversions(client: SqlClient, wanted: readonly number[]) {
  if (wanted.length === 0) return []
  const { rows } = await client.query<{ oid: number; input: number; output: number }>(`
    select oid::int8 as oid, typinput::oid::int8 as input, typoutput::oid::int8 as output from pg_type where oid = ${oids(wanted)}`)
  return rows.map((row) => [Number(row.oid), { input: Number(row.input), output: Number(row.output) }] as const)
}

async function loadFunctions(client: SqlClient, wanted: readonly number[]) {
  if (wanted.length === 0) return []
  const { rows } = await client.query<Omit<FunctionFact, 'body'> & { oid: number; body: string | null }>(`
    select p.oid::int8 as oid, p.proname as name, p.oid::regprocedure::text as signature, p.pronargs::int4 as arguments,
      p.oid < ${firstUserOid} as system, p.provolatile::text as volatility, p.prosqlbody::text as body,
      exists (select from pg_depend d where d.classid = 'pg_proc'::regclass and d.objid = p.oid and d.deptype = 'e') as "ofExtension"
    from pg_proc p where p.oid = ${oids(wanted)}`)
  return rows.map((row) => [Number(row.oid), { ...row, body: row.body === null ? undefined : bodyOf(row.body) }] as const)
}

/** The queries of a BEGIN ATOMIC body: `((q q))`, or `q` where it is a mere RETURN. */
export function bodyOf(text: string): readonly TreeNode[] {
  const queries: TreeNode[] = []
  eachNode(parseNodeTree(text), (node) => {
    if (node.type === 'QUERY') queries.push(node)
    return node.type !== 'QUERY'
  })
  return queries
}

interface RelationRow {
  readonly oid: number
  readonly name: string
  readonly kind: string
  readonly persistence: string
  readonly system: boolean
  readonly rowSecurity: boolean
  readonly tuples: number
  readonly columns: readonly { number: number; name: string; quoted: string; type: string; generated: string; expression: string | null }[]
  readonly primaryKey: readonly string[]
  readonly leaves: RelationFact['leaves']
  readonly indexed: readonly string[]
  readonly rule: string | null
}

async function loadRelations(client: SqlClient, wanted: readonly number[]): Promise<readonly RelationFact[]> {
  if (wanted.length === 0) return []
  const { rows } = await client.query<RelationRow>(relationsSql(wanted))
  return rows.map(({ columns, rule, ...row }) => ({
    ...row,
    oid: Number(row.oid),
    columns: columns.map((column) => ({
      number: column.number,
      name: column.name,
      quoted: column.quoted,
      type: column.type,
      generated: column.generated === 's' ? 'stored' : column.generated === 'v' ? 'virtual' : '',
      madeFrom: column.generated !== '' && column.expression !== null ? columnsIn(column.expression) : [],
    })),
    query: rule === null ? undefined : bodyOf(rule)[0],
  }))
}

function columnsIn(expression: string): readonly number[] {
  const found = new Set<number>()
  eachNode(parseNodeTree(expression), (node) => {
    if (wordAt(node, 'varattno') !== undefined) found.add(numberAt(node, 'varattno'))
    return true
  })
  return [...found]
}

function relationsSql(wanted: readonly number[]): string {
  return `
    with recursive below(top, oid) as (
      select inhparent, inhrelid from pg_inherits where inhparent = ${oids(wanted)}
      union select b.top, i.inhrelid from below b join pg_inherits i on i.inhparent = b.oid
    )
    select c.oid::int8 as oid, c.oid::regclass::text as name, c.relkind::text as kind, c.relpersistence::text as persistence,
      c.oid < ${firstUserOid} as system, case when c.relrowsecurity then row_security_active(c.oid) else false end as "rowSecurity",
      greatest(c.reltuples, 0)::float8 + coalesce((
        select sum(greatest(l.reltuples, 0)) from below b join pg_class l on l.oid = b.oid where b.top = c.oid and c.relkind <> 'p'
      ), 0)::float8 as tuples,
      coalesce((
        select json_agg(json_build_object('number', a.attnum, 'name', a.attname, 'quoted', quote_ident(a.attname), 'type', format_type(a.atttypid, a.atttypmod),
          'generated', a.attgenerated::text, 'expression', d.adbin::text) order by a.attnum)
        from pg_attribute a left join pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum and a.attgenerated <> ''
        where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
      ), '[]') as columns,
      coalesce((
        select json_agg(a.attname order by k.place)
        from pg_index i cross join lateral unnest(i.indkey::int2[]) with ordinality k(number, place)
          join pg_attribute a on a.attrelid = c.oid and a.attnum = k.number
        where i.indrelid = c.oid and i.indisprimary and k.place <= i.indnkeyatts
      ), '[]') as "primaryKey",
      coalesce((
        select json_agg(json_build_object('oid', l.oid::int8, 'name', l.oid::regclass::text, 'kind', l.relkind::text,
          'persistence', l.relpersistence::text) order by l.oid::regclass::text)
        from below b join pg_class l on l.oid = b.oid where b.top = c.oid
      ), '[]') as leaves,
      coalesce((
        select json_agg(distinct a.attname)
        from pg_index i join pg_attribute a on a.attrelid = c.oid and a.attnum = i.indkey[0]
        where i.indrelid = c.oid and i.indisvalid and i.indpred is null
      ), '[]') as indexed,
      (select r.ev_action::text from pg_rewrite r where r.ev_class = c.oid and r.rulename = '_RETURN' and c.relkind = 'v') as rule
    from pg_class c where c.oid = ${oids(wanted)}`
}
