import type { Transaction } from '../../database/database.ts'
import type { RelationFact } from './select-catalog.ts'

/** A node of `explain (format json)`, as far as it is looked at. */
interface PlanNode {
  readonly 'Node Type': string
  readonly Schema?: string
  readonly 'Relation Name'?: string
  readonly Alias?: string
  readonly Filter?: string
  readonly 'Index Cond'?: string
  readonly 'Recheck Cond'?: string
  readonly 'Hash Cond'?: string
  readonly 'Merge Cond'?: string
  readonly 'Join Filter'?: string
  readonly Plans?: readonly PlanNode[]
}

/** From here on a table that is read as a whole counts as large. */
const largeTuples = 10_000

/**
 * Which indexes a statement lacks: plans it with every way around an index made dear, and looks for tables that are read as a whole all
 * the same. `purpose` says when the statement runs. Settings are left changed: the caller undoes them.
 */
export async function indexAdvice(
  client: Transaction,
  statement: string,
  purpose: string,
  tables: readonly RelationFact[],
): Promise<readonly string[]> {
  for (const setting of ['enable_seqscan', 'enable_hashjoin', 'enable_mergejoin']) await client.query(`set local ${setting} = off`)
  const { rows } = await client.query<{ 'QUERY PLAN': readonly { readonly Plan: PlanNode }[] }>(
    `explain (format json, verbose) ${statement}`,
  )
  const advice = new Set<string>()
  for (const { Plan } of rows[0]?.['QUERY PLAN'] ?? []) {
    for (const scan of wholeScans(Plan, [])) {
      const line = adviceFor(scan, purpose, tables)
      if (line !== undefined) advice.add(line)
    }
  }
  return [...advice]
}

interface WholeScan {
  readonly node: PlanNode
  /** Conditions that an index on a column in them could serve. */
  readonly conditions: readonly string[]
}

const conditionFields = ['Filter', 'Hash Cond', 'Merge Cond', 'Join Filter'] as const
/** A condition above these does not reach what lies beneath. */
const barriers = new Set(['Aggregate', 'Group', 'WindowAgg', 'Unique', 'Limit', 'Subquery Scan', 'CTE Scan', 'SetOp', 'Recursive Union'])

function wholeScans(node: PlanNode, above: readonly string[]): readonly WholeScan[] {
  const own = conditionFields.flatMap((field) => node[field] ?? [])
  const conditions = barriers.has(node['Node Type']) ? [] : [...above, ...own]
  const beneath = (node.Plans ?? []).flatMap((child) => wholeScans(child, conditions))
  const isWhole = node['Relation Name'] !== undefined && node['Index Cond'] === undefined && node['Recheck Cond'] === undefined
  return isWhole ? [{ node, conditions }, ...beneath] : beneath
}

function adviceFor({ node, conditions }: WholeScan, purpose: string, tables: readonly RelationFact[]): string | undefined {
  const name = node['Relation Name'] ?? ''
  const table = tables.find((fact) =>
    [fact, ...fact.leaves].some((relation) => bare(relation.name) === `${bare(node.Schema ?? '')}.${bare(name)}`),
  )
  if (!table) return undefined
  const large = table.tuples >= largeTuples ? ' (large)' : ''
  const columns = table.columns.filter((column) => conditions.some((text) => compares(text, node.Alias ?? name, column.name)))
  const missing = columns.find((column) => !table.indexed.includes(column.name))
  const served = columns.some((column) => table.indexed.includes(column.name))
  if (missing !== undefined && !served)
    return `${purpose} reads all of ${table.name}${large}: create index on ${table.name} (${missing.quoted})`
  if (!large) return undefined
  return `${purpose} reads all of ${table.name}${large}: its key does not reach an index there; join it LATERAL, or by the key itself`
}

/** Whether the condition says that the column equals something. */
function compares(condition: string, alias: string, column: string): boolean {
  const [of, part] = [alias, column].map((word) => `"?${word.replaceAll('"', '""').replace(/[.*+?^${}()|[\]\\]/g, '\\$&')}"?`)
  const name = String.raw`${of}\.${part}`
  const cast = String.raw`\)?(::[a-z ]+(\(\d+\))?)?\)?`
  return new RegExp(`(^|[ (])${name}${cast} = |(^|[^<>!]) ?= (\\(|ANY \\()*${name}(?![\\w"$])`).test(condition)
}

/** A name without quotes: enough to tell tables apart here. */
function bare(name: string): string {
  return name.replaceAll('"', '')
}
