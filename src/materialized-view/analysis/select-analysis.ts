import { createHash, randomBytes } from 'node:crypto'
import type { Transaction } from '../../database/database.ts'
import { literal, quote } from '../../database/identifier.ts'
import { DatabaseError } from '../../errors.ts'
import { canonicalJson } from '../../internal/json.ts'
import type { ViewDefinition } from '../materialized-view.ts'
import { type NamedTable, type NamedTables, namedTables } from './changed-by.ts'
import { frozenMoments, momentRefusal } from './function-rule.ts'
import { indexAdvice } from './index-advice.ts'
import { keyRefusals } from './key-rule.ts'
import { useTree } from './key-uses.ts'
import { orderAdvice } from './order-advice.ts'
import { type Refusal, refused } from './refusal.ts'
import { type Catalog, loadCatalog } from './select-catalog.ts'
import { type OutputColumn, probeSelect, type SelectProbe } from './select-probe.ts'
import { readsOf, type TableRead } from './select-reads.ts'
import { mapAdvice, type SeparabilityInput, separabilityRefusals } from './separability.ts'
import { type ProbedMap, qualified, resolveMap, type SourceMap } from './source-map.ts'
import { sourceRefusal } from './source-rule.ts'
import { attempt, undone } from './undo.ts'

/** A table of which every change has to be seen. */
export interface Source {
  /** Qualified and quoted. */
  readonly table: string
  readonly oid: number
  /** Partitions and inheriting tables that are read with it, at any depth. */
  readonly leaves: readonly number[]
  /**
   * The columns that the SELECT reads of it anywhere, `'*'` where it takes whole rows. A generated column stands for the columns that it is
   * made from, and, if it is stored, for itself.
   */
  readonly reads: readonly string[] | '*'
  readonly primaryKey: readonly string[]
  readonly map: SourceMap
}

/** A view's definition as PostgreSQL understands it: every name resolved, every rule kept. */
export interface Analysis {
  /** PostgreSQL's own text of the SELECT, in which every name is qualified. */
  readonly select: string
  readonly columns: readonly (OutputColumn & { readonly nullable: true })[]
  readonly key: readonly { readonly column: string; readonly type: string }[]
  readonly sources: readonly Source[]
  /** What would make it faster or steadier, one line each; an index with the statement that creates it. */
  readonly advice: readonly string[]
  /** Equal as long as the definition means the same; a hash in hexadecimal. */
  readonly fingerprint: string
}

interface Subject {
  readonly name: string
  readonly schema: string
  readonly definition: ViewDefinition
}

/** All that the rules look at. */
interface Findings {
  readonly probe: SelectProbe
  readonly key: readonly { readonly column: string; readonly type: string }[]
  readonly named: NamedTables
  readonly maps: ReadonlyMap<number, ProbedMap>
  readonly catalog: Catalog
}

/**
 * Looks through a view's definition: what its SELECT reads, whether each row depends on its key's mapped rows alone, and what its maps say.
 * Names are resolved on the search path of `client`'s open transaction. Nothing that this creates stays.
 * @throws {DefinitionError} naming every reason why the view cannot be kept; `details` list their codes and subjects
 */
export async function analyse(client: Transaction, options: Subject): Promise<Analysis> {
  return undone(client, () => analyseHere(client, options))
}

async function analyseHere(client: Transaction, subject: Subject): Promise<Analysis> {
  const { name, schema, definition } = subject
  const { rows } = await client.query<{ path: string }>(`select current_setting('search_path') as path`)
  const prefix = `probe_${randomBytes(6).toString('hex')}`
  const named = await namedTables(client, definition)
  const probe = await probeSelect(client, name, schema, qualified(schema, prefix), definition.select)
  const refusals: Refusal[] = [
    ...named.refusals,
    ...(await keyRefusals(client, qualified(schema, `${prefix}_key`), definition.key, probe.columns)),
  ]
  for (const constant of frozenMoments(definition.select, probe.canonical)) refusals.push(momentRefusal(constant, 'the SELECT'))
  const key = definition.key.flatMap((column) =>
    probe.columns.filter((output) => output.name === column).map(({ type }) => ({ column, type })),
  )
  const tables = [...named.changedBy, ...named.reads].map(({ oid }) => oid)
  const first = await loadCatalog(client, [probe.query], tables)
  const mapProbe = { client, prefix: qualified(schema, `${prefix}_map`).replace(/"$/, ''), appPath: rows[0]?.path ?? '', key }
  const maps = new Map<number, ProbedMap>()
  for (const [i, { oid, map }] of named.changedBy.entries()) {
    const table = first.relations.get(oid)
    const resolved = table && key.length === definition.key.length ? await resolveMap(mapProbe, table, map, i) : { refusals: [] }
    if ('map' in resolved) maps.set(oid, resolved)
    else refusals.push(...resolved.refusals)
  }
  const mapQueries = [...maps.values()].flatMap(({ probed }) => probed?.query ?? [])
  const catalog = await loadCatalog(client, [probe.query, ...mapQueries], tables)
  return conclude(client, subject, { probe, key, named, maps, catalog }, refusals)
}

async function conclude(
  client: Transaction,
  { name, schema, definition }: Subject,
  findings: Findings,
  refusals: Refusal[],
): Promise<Analysis> {
  const { probe, key, maps, catalog } = findings
  const reads = readTables(findings, definition, refusals)
  refusals.push(...coverRefusals(reads, findings.named))
  const input: SeparabilityInput = {
    tree: useTree(probe.query, catalog),
    catalog,
    maps: new Map([...maps].map(([oid, { map }]) => [oid, map])),
    key: key.map(({ column }) => ({ column, number: probe.columns.findIndex((output) => output.name === column) + 1 })),
  }
  if (key.length === definition.key.length) refusals.push(...separabilityRefusals(input))
  if (refusals.length > 0) throw refused(name, refusals)
  const sources = [...reads.values()].map((read) => sourceOf(read, maps)).sort((a, b) => (a.table < b.table ? -1 : 1))
  const plans = await attempt(client, () => planAdvice(client, schema, findings, [...reads.values()]))
  if (plans instanceof DatabaseError) throw refused(name, [notPlanned(plans)], plans)
  return {
    select: probe.canonical,
    columns: probe.columns.map((column) => ({ ...column, nullable: true })),
    key,
    sources,
    advice: [...plans, ...orderAdvice(input.tree, catalog), ...mapAdvice(input)],
    fingerprint: fingerprintOf(findings, sources),
  }
}

/** The tables that the SELECT reads, with those that `reads` declares; says what cannot be read there and by the maps. */
function readTables(
  { probe, named, maps, catalog }: Findings,
  definition: ViewDefinition,
  refusals: Refusal[],
): ReadonlyMap<number, TableRead> {
  const vouched = definition.reads.length > 0
  const select = readsOf([probe.query], catalog, { place: 'the SELECT', vouched })
  const tables = new Map(select.tables)
  for (const { oid } of named.reads) {
    const table = catalog.relations.get(oid)
    if (table) tables.set(oid, { table, columns: '*', descends: true })
  }
  refusals.push(...select.refusals, ...sourceRefusals(tables, 'the SELECT'))
  for (const [oid, { probed }] of maps) {
    const place = `the SQL of changedBy for ${catalog.relations.get(oid)?.name}`
    const map = readsOf(probed ? [probed.query] : [], catalog, { place, vouched })
    refusals.push(...map.refusals, ...sourceRefusals(map.tables, place))
  }
  return tables
}

function sourceRefusals(tables: ReadonlyMap<number, TableRead>, place: string): readonly Refusal[] {
  return [...tables.values()].flatMap(({ table }) => sourceRefusal(table, place) ?? [])
}

/** Tables that are read but not mapped, and tables that are mapped but not read. */
function coverRefusals(reads: ReadonlyMap<number, TableRead>, named: NamedTables): readonly Refusal[] {
  const mapped = new Set(named.changedBy.map(({ oid }) => oid))
  const uncovered = [...reads.values()].filter(({ table }) => !mapped.has(table.oid)).map(({ table }) => table.name)
  const unread = named.changedBy.filter(({ oid }) => !reads.has(oid))
  return [
    ...uncovered.map((table) => ({
      code: 'uncovered_table',
      subject: table,
      message: `the SELECT reads ${table}, but "changedBy" does not say which keys a change there touches; add it: a column, SQL, or '*'`,
    })),
    ...unread.map((table) => ({ code: 'table_not_read', subject: table.name, message: unreadMessage(table, [...reads.values()]) })),
  ]
}

function unreadMessage({ name, kind }: NamedTable, reads: readonly TableRead[]): string {
  const read = reads.map(({ table }) => table.name).join(', ') || 'no table'
  const why = kind === 'v' ? 'which is a view; name the tables beneath it' : 'which the SELECT does not read'
  return `"changedBy" names ${name}, ${why} (it reads ${read})`
}

function sourceOf({ table, columns, descends }: TableRead, maps: ReadonlyMap<number, ProbedMap>): Source {
  const map = maps.get(table.oid)?.map
  if (!map) throw new Error(`${table.name} has no map`)
  return {
    table: table.name,
    oid: table.oid,
    leaves: descends ? table.leaves.map(({ oid }) => oid) : [],
    reads: columns === '*' ? '*' : table.columns.filter(({ number }) => columns.has(number)).map((column) => column.name),
    primaryKey: table.primaryKey,
    map,
  }
}

/** Plans the recompute of some keys, and each SQL map. */
async function planAdvice(
  client: Transaction,
  schema: string,
  { probe, key, maps, catalog }: Findings,
  reads: readonly TableRead[],
): Promise<readonly string[]> {
  const tables = [...catalog.relations.values()]
  const conditions: string[] = []
  for (const { column, type } of key) conditions.push(`q.${quote(column)} = any (${await unknownValue(client, schema, `${type}[]`)})`)
  const recompute = `select * from (${probe.canonical}) q where ${conditions.join(' and ')}`
  const advice = [...(await indexAdvice(client, recompute, 'recomputing a key', tables))]
  for (const { table } of reads) {
    const probed = maps.get(table.oid)?.probed
    if (!probed) continue
    const values: string[] = []
    for (const type of probed.types) values.push(await unknownValue(client, schema, type))
    const call = `select * from ${probed.function}(${values.join(', ')})`
    advice.push(...(await indexAdvice(client, call, `the SQL of changedBy for ${table.name}`, tables)))
  }
  return advice
}

/** A call that stands for some value: a constant the planner would see through, and a function with a setting of its own is not inlined. */
async function unknownValue(client: Transaction, schema: string, type: string): Promise<string> {
  const name = qualified(schema, `probe_${randomBytes(6).toString('hex')}`)
  await client.query(
    `create function ${name}() returns ${type} language sql stable set search_path = '' as ${literal(`select null::${type}`)}`,
  )
  return `${name}()`
}

function notPlanned(error: DatabaseError): Refusal {
  const code = error.sqlState === '42501' ? 'not_permitted' : 'not_planned'
  return { code, subject: 'select', message: `PostgreSQL does not run the SELECT or one of the maps for this role: ${error.message}` }
}

function fingerprintOf({ probe, key }: Findings, sources: readonly Source[]): string {
  const meaning = { select: probe.canonical, key, columns: probe.columns, maps: sources.map(({ table, map }) => [table, map]) }
  return createHash('sha256').update(canonicalJson(meaning)).digest('hex')
}
