import { columnName, meaningOf, outputExpression, type Use } from './key-classes.ts'
import type { UseTree } from './key-uses.ts'
import { isNode, isTrue, nodeAt, nodesAt, numberAt, type TreeNode, type TreeValue } from './node-tree.ts'
import { branchEntries, clauseExpressions, entryKind, entryOf, fromEntries } from './query-tree.ts'
import type { Refusal } from './refusal.ts'
import type { Catalog, RelationFact } from './select-catalog.ts'
import type { SourceMap } from './source-map.ts'

export interface SeparabilityInput {
  readonly tree: UseTree
  readonly catalog: Catalog
  readonly maps: ReadonlyMap<number, SourceMap>
  /** The key's columns: names and numbers in the SELECT's output. */
  readonly key: readonly { readonly column: string; readonly number: number }[]
}

/**
 * Why rows of the SELECT may change though none of the changed rows maps to their key: then recomputing by key would leave them as they
 * were. A row is recomputed with the others of its key, so whatever picks or numbers rows across keys (LIMIT, windows, DISTINCT ON) or is
 * one value for all keys is right only if every change of the tables beneath it touches all keys.
 */
export function separabilityRefusals(input: SeparabilityInput): readonly Refusal[] {
  const found: Refusal[] = []
  visit(input.tree.top, input, found)
  found.push(...computedKeys(input))
  return [...new Map(found.map((refusal) => [`${refusal.subject} ${refusal.message}`, refusal])).values()]
}

function visit(use: Use, input: SeparabilityInput, found: Refusal[]): void {
  if (!use.correlated) {
    const constant = constantKind(use)
    if (constant) {
      const wrong = tablesBeneath(use, input).filter(({ oid }) => input.maps.get(oid)?.kind === 'key')
      if (wrong.length > 0) found.push(constantRefusal(constant, wrong))
      return
    }
    const across = acrossKeys(use, input)
    const wrong = tablesBeneath(use, input).filter(({ oid }) => (input.maps.get(oid)?.kind ?? 'all') !== 'all')
    if (wrong.length > 0) found.push(...across.map((what) => acrossRefusal(what, use, wrong, input)))
  }
  for (const nested of use.nested) visit(nested, input, found)
}

/** Whether an uncorrelated query gives one value for all keys. */
function constantKind(use: Use): string | undefined {
  if (use.taken === 'value' || use.taken === 'test') return 'a subquery that does not depend on the row'
  const { query } = use
  const grouped = nodesAt(query, 'groupClause').length > 0 || nodesAt(query, 'groupingSets').length > 0
  return isTrue(query, 'hasAggs') && !grouped ? 'an aggregate over all rows' : undefined
}

/** What in the query picks or numbers rows across keys. */
function acrossKeys(use: Use, input: SeparabilityInput): readonly string[] {
  const { query } = use
  const found: string[] = []
  if (nodeAt(query, 'limitCount') || nodeAt(query, 'limitOffset')) found.push('LIMIT or OFFSET')
  const windows = isTrue(query, 'hasWindowFuncs') ? nodesAt(query, 'windowClause') : []
  if (windows.some((window) => !holdsKey(use, nodesAt(window, 'partitionClause'), input))) {
    found.push('a window function that is not partitioned by the key')
  }
  if (isTrue(query, 'hasDistinctOn') && !holdsKey(use, nodesAt(query, 'distinctClause'), input)) {
    found.push('DISTINCT ON without the key')
  }
  return found
}

/** Whether the clauses hold, for every column of the key, an expression that is equal to it. */
function holdsKey(use: Use, clauses: readonly TreeNode[], { tree, key }: SeparabilityInput): boolean {
  const names = clauseExpressions(use.query, clauses).map((expression) => tree.classes.nameOf(expression, use))
  return key.every(({ number }) => names.some((name) => tree.classes.equal(name, keyName(tree, number))))
}

function keyName({ top, classes }: UseTree, number: number): string {
  return classes.nameOf(outputExpression(top.query, number), top)
}

function tablesBeneath(use: Use, { catalog }: SeparabilityInput): readonly RelationFact[] {
  const found = new Map<number, RelationFact>()
  const collect = (at: Use): void => {
    for (const { relation } of tableEntries(at, catalog)) found.set(relation.oid, relation)
    at.nested.forEach(collect)
  }
  collect(use)
  return [...found.values()]
}

/** The tables in a query's own FROM. */
export function tableEntries(use: Use, catalog: Catalog): readonly { readonly number: number; readonly relation: RelationFact }[] {
  return fromEntries(use.query).flatMap((number) => {
    const entry = entryOf(use.query, number)
    const isTable = entry !== undefined && numberAt(entry, 'rtekind') === entryKind.table
    const relation = isTable ? catalog.relations.get(numberAt(entry, 'relid')) : undefined
    return relation && !relation.query ? [{ number, relation }] : []
  })
}

const namesOf = (tables: readonly RelationFact[]) => tables.map(({ name }) => name).join(', ')

function acrossRefusal(what: string, use: Use, tables: readonly RelationFact[], { key }: SeparabilityInput): Refusal {
  const where = use.taken === 'outermost' ? 'the SELECT has' : 'a subquery or CTE of the SELECT has'
  const columns = key.map(({ column }) => column).join(', ')
  return {
    code: 'not_separable',
    subject: what,
    message:
      `${where} ${what} (${columns}), so a change of one key can change the rows of others, and nothing would tell; ` +
      `partition by the key, or let every change of ${namesOf(tables)} touch all keys ('*' in "changedBy"), or apply it in the query that reads this view`,
  }
}

function constantRefusal(what: string, tables: readonly RelationFact[]): Refusal {
  return {
    code: 'not_separable',
    subject: what,
    message:
      `the SELECT has ${what}, over ${namesOf(tables)}: a change there touches every key, but "changedBy" maps it to the key in a column; ` +
      "map it with '*' or with SQL that gives all the keys it touches, or tie the subquery to the row",
  }
}

/** Keys that are made by an aggregate or a window function: a changed row does not say which key it had a part in. */
function computedKeys({ tree, key, catalog, maps }: SeparabilityInput): readonly Refusal[] {
  const tables = tablesBeneath(tree.top, { tree, key, catalog, maps }).filter(({ oid }) => (maps.get(oid)?.kind ?? 'all') !== 'all')
  if (tables.length === 0) return []
  return key
    .filter(({ number }) => isComputed(outputExpression(tree.top.query, number), tree.top, number))
    .map(({ column }) => ({
      code: 'not_separable',
      subject: column,
      message:
        `the key column ${column} is made by an aggregate or a window function, so no changed row says to which key it belongs; choose a key ` +
        `that comes from a column, or let every change of ${namesOf(tables)} touch all keys ('*' in "changedBy")`,
    }))
}

function isComputed(expression: TreeNode | undefined, use: Use, column: number): boolean {
  const branches = branchEntries(use.query)
  if (branches.length > 0) return branches.some((number) => isComputedBeneath(use, number, column))
  if (expression?.type === 'VAR' && numberAt(expression, 'varlevelsup') === 0) {
    const number = numberAt(expression, 'varno')
    const meant = meaningOf(use, number, numberAt(expression, 'varattno'))
    return meant ? isComputed(meant, use, column) : isComputedBeneath(use, number, numberAt(expression, 'varattno'))
  }
  return holdsAggregate(expression)
}

function isComputedBeneath(use: Use, number: number, column: number): boolean {
  const beneath = use.entries.get(number)
  return beneath !== undefined && isComputed(outputExpression(beneath.query, column), beneath, column)
}

function holdsAggregate(value: TreeValue | undefined): boolean {
  if (!isNode(value)) return Array.isArray(value) && value.some(holdsAggregate)
  if (value.type === 'AGGREF' || value.type === 'WINDOWFUNC') return true
  return value.type !== 'QUERY' && [...value.fields.values()].some(holdsAggregate)
}

/** Tables whose map names a column that the SELECT does not tie to the key: such a map is seldom what was meant. */
export function mapAdvice({ tree, catalog, maps, key }: SeparabilityInput): readonly string[] {
  const advice = new Set<string>()
  const collect = (use: Use): void => {
    for (const { number, relation } of tableEntries(use, catalog)) {
      const map = maps.get(relation.oid)
      if (map?.kind !== 'key') continue
      map.columns.forEach((column, i) => {
        const fact = relation.columns.find(({ name }) => name === column)
        const part = key[i]
        if (fact && part && !tree.classes.equal(columnName(use, number, fact.number), keyName(tree, part.number))) {
          advice.add(
            `changedBy maps ${relation.name} by its column ${column}, but the SELECT does not compare that column with ${part.column} ` +
              'wherever it reads the table; if a changed row can touch other keys, map it with SQL that gives them all',
          )
        }
      })
    }
    use.nested.forEach(collect)
  }
  collect(tree.top)
  return [...advice]
}
