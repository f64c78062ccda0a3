import { isNode, nodeAt, nodesAt, numberAt, type TreeNode, type TreeValue } from './node-tree.ts'

/** The kinds of range-table entry that are told apart here, as PostgreSQL numbers them. */
export const entryKind = { table: 0, subquery: 1, join: 2, cte: 6, group: 9 } as const

/** A Query node and the queries around it, from the inside out. */
export interface QueryScope {
  readonly query: TreeNode
  readonly outer: QueryScope | undefined
}

/** The scope `levels` queries out. */
export function scopeUp<S extends { readonly outer: S | undefined }>(scope: S, levels: number): S | undefined {
  let found: S | undefined = scope
  for (let i = 0; i < levels; i++) found = found?.outer
  return found
}

/** The range-table entry number `index`, counted from 1. */
export function entryOf(query: TreeNode, index: number): TreeNode | undefined {
  return nodesAt(query, 'rtable')[index - 1]
}

/** The numbers of the range-table entries that the query's FROM names: not the placeholders that old versions put into a view's rule. */
export function fromEntries(query: TreeNode): readonly number[] {
  const found: number[] = []
  const collect = (value: TreeValue | undefined): void => {
    if (!isNode(value)) {
      if (Array.isArray(value)) value.forEach(collect)
    } else if (value.type === 'RANGETBLREF') {
      found.push(numberAt(value, 'rtindex'))
    } else if (value.type === 'FROMEXPR') {
      collect(value.fields.get('fromlist'))
    } else if (value.type === 'JOINEXPR') {
      collect(value.fields.get('larg'))
      collect(value.fields.get('rarg'))
      found.push(numberAt(value, 'rtindex'))
    }
  }
  collect(query.fields.get('jointree'))
  return found
}

/** The branches of a UNION, INTERSECT or EXCEPT, as numbers of range-table entries; empty when the query is none. */
export function branchEntries(query: TreeNode): readonly number[] {
  const top = nodeAt(query, 'setOperations')
  if (!top) return []
  const branches = (node: TreeNode | undefined): number[] => {
    if (!node) return []
    if (node.type === 'RANGETBLREF') return [numberAt(node, 'rtindex')]
    return [...branches(nodeAt(node, 'larg')), ...branches(nodeAt(node, 'rarg'))]
  }
  return branches(top)
}

/** The expressions that a list of sort or group clauses stands for. */
export function clauseExpressions(query: TreeNode, clauses: readonly TreeNode[]): readonly TreeNode[] {
  const wanted = new Set(clauses.map((clause) => numberAt(clause, 'tleSortGroupRef')))
  return nodesAt(query, 'targetList')
    .filter((entry) => wanted.has(numberAt(entry, 'ressortgroupref')))
    .flatMap((entry) => nodeAt(entry, 'expr') ?? [])
}

/** The CTE of that name in the query, if it has one. */
export function cteOf(query: TreeNode, name: string): TreeNode | undefined {
  return nodesAt(query, 'cteList').find((cte) => cte.fields.get('ctename') === name)
}

/**
 * What else a query consists of besides its FROM's tables: all expressions and the queries in it. The alias variables of joins are left
 * out: they stand for columns whether anybody asks for them or not.
 */
export function partsOf(query: TreeNode): readonly TreeValue[] {
  const parts: TreeValue[] = []
  for (const [field, value] of query.fields) {
    if (field !== 'rtable' && field !== 'rteperminfos') parts.push(value)
  }
  for (const entry of nodesAt(query, 'rtable')) {
    for (const [field, value] of entry.fields) if (!notExpressions.has(field)) parts.push(value)
  }
  return parts
}

const notExpressions = new Set(['joinaliasvars', 'alias', 'eref', 'joinleftcols', 'joinrightcols', 'join_using_alias'])

/** Whether the query reads something of the queries around it (or a function's argument), so that it is run for each of their rows. */
export function isCorrelated(query: TreeNode): boolean {
  const look = (value: TreeValue, depth: number): boolean => {
    if (!isNode(value)) return Array.isArray(value) && value.some((item) => look(item, depth))
    if (value.type === 'QUERY') return partsOf(value).some((part) => look(part, depth + 1))
    if (value.type === 'VAR' && numberAt(value, 'varlevelsup') > depth) return true
    if (value.type === 'AGGREF' && numberAt(value, 'agglevelsup') > depth) return true
    if (value.type === 'PARAM' && numberAt(value, 'paramkind') === 0) return true
    return [...value.fields.values()].some((field) => look(field, depth))
  }
  return look(query, -1)
}
