import { isNode, listAt, nodeAt, nodesAt, numberAt, type TreeNode, type TreeValue } from './node-tree.ts'
import { entryKind, entryOf, scopeUp } from './query-tree.ts'

/** One use of a query: a view or CTE that is named twice is used twice, and its columns are then two different things. */
export interface Use {
  readonly id: number
  readonly query: TreeNode
  readonly outer: Use | undefined
  /** How the surrounding query takes it: as a table, or as a value that is one for all of its rows or compared with each of them. */
  readonly taken: 'outermost' | 'table' | 'value' | 'compared' | 'test'
  readonly correlated: boolean
  /** The uses behind each range-table entry: one, or the branches of a set operation. */
  readonly entries: Map<number, Use>
  readonly nested: Use[]
}

/** Classes of expressions that are equal in every row that the query gives. */
export class KeyClasses {
  readonly #parents = new Map<string, string>()
  readonly #queries = new Map<TreeNode, number>()

  /** Says that two expressions are equal. */
  unite(a: string, b: string): void {
    const root = this.#root(a)
    const other = this.#root(b)
    if (root !== other) this.#parents.set(root, other)
  }

  equal(a: string, b: string): boolean {
    return this.#root(a) === this.#root(b)
  }

  #root(name: string): string {
    let root = name
    for (let next = this.#parents.get(root); next !== undefined && next !== root; next = this.#parents.get(root)) root = next
    return root
  }

  /** A name for an expression: two that compute the same from the same columns have the same one. */
  nameOf(value: TreeValue | undefined, use: Use): string {
    if (value === null || value === undefined) return '-'
    if (typeof value === 'string') return value
    if (!isNode(value)) return `(${value.map((item) => this.nameOf(item, use)).join(' ')})`
    if (value.type === 'VAR') return this.#variable(value, use)
    if (value.type === 'RELABELTYPE') return this.nameOf(value.fields.get('arg'), use)
    if (value.type === 'QUERY') return `query ${this.#queryNumber(value)} of ${use.id}`
    const fields = [...value.fields].filter(([field]) => field !== 'location').map(([field, item]) => `${field}=${this.nameOf(item, use)}`)
    return `${value.type}{${fields.join(' ')}}`
  }

  #queryNumber(query: TreeNode): number {
    const known = this.#queries.get(query) ?? this.#queries.size
    this.#queries.set(query, known)
    return known
  }

  #variable(node: TreeNode, use: Use): string {
    const at = scopeUp(use, numberAt(node, 'varlevelsup'))
    const number = numberAt(node, 'varno')
    const column = numberAt(node, 'varattno')
    const meant = at && meaningOf(at, number, column)
    return at && meant ? this.nameOf(meant, at) : columnName(at, number, column)
  }
}

/** What a column of a join or of a grouping stands for; undefined for a column of a table or subquery. */
export function meaningOf(use: Use, entryNumber: number, column: number): TreeNode | undefined {
  const entry = entryOf(use.query, entryNumber)
  if (!entry || column === 0) return undefined
  const kind = numberAt(entry, 'rtekind')
  const list = kind === entryKind.join ? 'joinaliasvars' : kind === entryKind.group ? 'groupexprs' : undefined
  const meant = list && listAt(entry, list)[column - 1]
  return isNode(meant) ? meant : undefined
}

export function columnName(use: Use | undefined, entryNumber: number, column: number): string {
  return `column ${column} of ${entryNumber} in ${use?.id}`
}

/** Tells `classes` of the equalities that hold in a query: those of its WHERE and of its joins, and the merged columns of full joins. */
export function uniteEqualities(use: Use, classes: KeyClasses, isEquality: (operator: number) => boolean): void {
  const conditions: TreeNode[] = []
  const collect = (value: TreeValue | undefined): void => {
    if (!isNode(value)) {
      if (Array.isArray(value)) value.forEach(collect)
      return
    }
    if (value.type === 'FROMEXPR' || value.type === 'JOINEXPR') {
      for (const field of ['fromlist', 'larg', 'rarg']) collect(value.fields.get(field))
      conditions.push(...conjuncts(value.fields.get('quals')))
    }
  }
  collect(use.query.fields.get('jointree'))
  for (const condition of conditions) {
    const [left, right] = sidesOf(condition, isEquality) ?? []
    if (left && right) classes.unite(classes.nameOf(left, use), classes.nameOf(right, use))
  }
  for (const entry of nodesAt(use.query, 'rtable')) {
    if (numberAt(entry, 'rtekind') !== entryKind.join) continue
    for (const merged of nodesAt(entry, 'joinaliasvars').filter(({ type }) => type === 'COALESCEEXPR')) {
      for (const part of nodesAt(merged, 'args')) classes.unite(classes.nameOf(merged, use), classes.nameOf(part, use))
    }
  }
}

/** The conditions that an AND joins. */
export function conjuncts(value: TreeValue | undefined): readonly TreeNode[] {
  if (!isNode(value)) return []
  if (value.type === 'BOOLEXPR' && value.fields.get('boolop') === 'and') return nodesAt(value, 'args').flatMap(conjuncts)
  return [value]
}

/** The two sides of an equality, or undefined. */
export function sidesOf(condition: TreeNode, isEquality: (operator: number) => boolean): readonly [TreeNode, TreeNode] | undefined {
  if (condition.type !== 'OPEXPR' || !isEquality(numberAt(condition, 'opno'))) return undefined
  const [left, right] = nodesAt(condition, 'args')
  return left && right ? [left, right] : undefined
}

/** The expression of an output column. */
export function outputExpression(query: TreeNode, column: number): TreeNode | undefined {
  const entry = nodesAt(query, 'targetList').find((item) => numberAt(item, 'resno') === column)
  return entry && nodeAt(entry, 'expr')
}
