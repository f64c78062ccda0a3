import { columnName, conjuncts, sidesOf, type Use } from './key-classes.ts'
import type { UseTree } from './key-uses.ts'
import { eachNode, isNode, listAt, nodeAt, nodesAt, numberAt, type TreeNode, type TreeValue } from './node-tree.ts'
import { clauseExpressions, entryOf, fromEntries, partsOf } from './query-tree.ts'
import type { Catalog } from './select-catalog.ts'
import { tableEntries } from './separability.ts'

/**
 * What in a SELECT may come out in another order each time it is run, so that a row seems to have changed when it has not: LIMIT without a
 * total order, and aggregates that keep an order which nobody gave them.
 */
export function orderAdvice(tree: UseTree, catalog: Catalog): readonly string[] {
  const advice = new Set<string>()
  const collect = (use: Use): void => {
    if (use.taken !== 'test' && nodeAt(use.query, 'limitCount') && !hasTotalOrder(use, tree, catalog)) {
      advice.add(
        'a LIMIT in the SELECT stands behind an ORDER BY that leaves ties (or none), so which rows it takes may change from run to run; ' +
          'add the primary key to the ORDER BY',
      )
    }
    for (const name of unorderedAggregates(use, catalog)) {
      advice.add(
        `${name}() in the SELECT has no ORDER BY, so its elements may change places from run to run; write ${name}(... order by ...)`,
      )
    }
    use.nested.forEach(collect)
  }
  collect(tree.top)
  return [...advice]
}

/** Whether the ORDER BY names the primary key of a table in FROM, apart from its columns that a condition holds fixed. */
function hasTotalOrder(use: Use, { classes }: UseTree, catalog: Catalog): boolean {
  const order = nodesAt(use.query, 'sortClause')
  if (order.length === 0) return false
  const tables = tableEntries(use, catalog)
  if (tables.length === 0) return true
  const sorted = clauseExpressions(use.query, order)
  const names = [...sorted, ...fixedExpressions(use, catalog)].map((expression) => classes.nameOf(expression, use))
  return tables.some(({ number, relation }) => {
    if (relation.primaryKey.length === 0) return false
    return relation.primaryKey.every((column) => {
      const fact = relation.columns.find(({ name }) => name === column)
      const name = columnName(use, number, fact?.number ?? 0)
      return names.some((each) => classes.equal(each, name))
    })
  })
}

/** What the WHERE compares with something that is the same for all rows of the query. */
function fixedExpressions(use: Use, catalog: Catalog): readonly TreeNode[] {
  const condition = nodeAt(use.query, 'jointree')?.fields.get('quals')
  const isEquality = (operator: number) => catalog.operators.get(operator)?.equality ?? false
  return conjuncts(condition).flatMap((each) => {
    const [left, right] = sidesOf(each, isEquality) ?? []
    if (!left || !right) return []
    return [...(isFixed(right) ? [left] : []), ...(isFixed(left) ? [right] : [])]
  })
}

function isFixed(expression: TreeNode): boolean {
  let fixed = true
  eachNode(expression, (node) => {
    if (node.type === 'SUBLINK' || (node.type === 'VAR' && numberAt(node, 'varlevelsup') === 0)) fixed = false
    return fixed
  })
  return fixed
}

const keepOrder = new Set(['array_agg', 'string_agg', 'json_agg', 'jsonb_agg', 'json_agg_strict', 'jsonb_agg_strict', 'xmlagg'])

function unorderedAggregates(use: Use, catalog: Catalog): readonly string[] {
  if (isFedInOrder(use)) return []
  const found: string[] = []
  const look = (value: TreeValue): void => {
    if (!isNode(value)) {
      if (Array.isArray(value)) value.forEach(look)
      return
    }
    if (value.type === 'QUERY') return
    const name = value.type === 'AGGREF' ? catalog.functions.get(numberAt(value, 'aggfnoid'))?.name : undefined
    if (name !== undefined && keepOrder.has(name) && !isOrdered(value)) found.push(name)
    for (const field of value.fields.values()) look(field)
  }
  for (const part of partsOf(use.query)) look(part)
  return found
}

/** DISTINCT sorts, too. */
function isOrdered(aggregate: TreeNode): boolean {
  return listAt(aggregate, 'aggorder').length > 0 || listAt(aggregate, 'aggdistinct').length > 0
}

/** Whether all rows come from one subquery that has an ORDER BY: `select array_agg(x) from (select ... order by ...)`. */
function isFedInOrder(use: Use): boolean {
  const [only, ...others] = fromEntries(use.query)
  const subquery = only !== undefined && others.length === 0 ? nodeAt(entryOf(use.query, only) ?? use.query, 'subquery') : undefined
  return subquery !== undefined && nodesAt(subquery, 'sortClause').length > 0
}
