import { columnName, conjuncts, KeyClasses, outputExpression, sidesOf, type Use, uniteEqualities } from './key-classes.ts'
import { isNode, isTrue, nodeAt, nodesAt, numberAt, type TreeNode, type TreeValue, wordAt } from './node-tree.ts'
import { branchEntries, cteOf, entryKind, isCorrelated, partsOf } from './query-tree.ts'
import type { Catalog } from './select-catalog.ts'

/** All uses of queries in a SELECT, and which of their expressions are equal. */
export interface UseTree {
  readonly top: Use
  readonly classes: KeyClasses
}

/** Beyond so many the rest is not looked at: CTEs that name one another twice double with each step. */
const usesMax = 5000

export function useTree(query: TreeNode, catalog: Catalog): UseTree {
  const builder = new Builder(catalog)
  return { top: builder.use(query, undefined, 'outermost'), classes: builder.classes }
}

class Builder {
  readonly classes = new KeyClasses()
  readonly #isEquality: (operator: number) => boolean
  readonly #catalog: Catalog
  #count = 0

  constructor(catalog: Catalog) {
    this.#catalog = catalog
    this.#isEquality = (operator) => catalog.operators.get(operator)?.equality ?? false
  }

  use(query: TreeNode, outer: Use | undefined, taken: Use['taken']): Use {
    const use: Use = { id: this.#count++, query, outer, taken, correlated: isCorrelated(query), entries: new Map(), nested: [] }
    if (this.#count > usesMax) return use
    uniteEqualities(use, this.classes, this.#isEquality)
    for (const [i, entry] of nodesAt(query, 'rtable').entries()) this.#entry(entry, i + 1, use)
    this.#uniteBranches(use)
    for (const part of partsOf(query)) this.#sublinks(part, use)
    return use
  }

  #entry(entry: TreeNode, number: number, use: Use): void {
    const subquery = nodeAt(entry, 'subquery')
    const relation = this.#catalog.relations.get(numberAt(entry, 'relid'))
    if (subquery) this.#table(this.use(subquery, use, 'table'), number, use)
    else if (relation?.query && !relation.system && isTrue(entry, 'inFromCl'))
      this.#table(this.use(relation.query, undefined, 'table'), number, use)
    else if (numberAt(entry, 'rtekind') === entryKind.cte && !isTrue(entry, 'self_reference')) this.#cte(entry, number, use)
    this.#functions(entry, use)
  }

  #table(inner: Use, number: number, use: Use, transparent = true): void {
    use.entries.set(number, inner)
    use.nested.push(inner)
    if (!transparent) return
    for (const column of outputNumbers(inner.query)) {
      this.classes.unite(columnName(use, number, column), this.classes.nameOf(outputExpression(inner.query, column), inner))
    }
  }

  /** A row of a recursive CTE grows out of rows with other keys, so a condition on its output says nothing about what lies beneath. */
  #cte(entry: TreeNode, number: number, use: Use): void {
    let at: Use | undefined = use
    for (let level = numberAt(entry, 'ctelevelsup'); level > 0; level--) at = at?.outer
    const cte = at && cteOf(at.query, wordAt(entry, 'ctename') ?? '')
    const query = cte && nodeAt(cte, 'ctequery')
    if (query) this.#table(this.use(query, at, 'table'), number, use, !isTrue(cte, 'cterecursive'))
  }

  /** Functions in FROM with a body that can be looked into; with an argument they are run for that argument alone. */
  #functions(entry: TreeNode, use: Use): void {
    for (const item of nodesAt(entry, 'functions')) {
      const call = nodeAt(item, 'funcexpr')
      const body = call && this.#catalog.functions.get(numberAt(call, 'funcid'))?.body
      for (const query of body ?? []) use.nested.push(this.use(query, undefined, 'table'))
    }
  }

  #uniteBranches(use: Use): void {
    const [first, ...others] = branchEntries(use.query)
    if (first === undefined) return
    for (const number of others) {
      const branch = use.entries.get(number)
      if (!branch) continue
      for (const column of outputNumbers(branch.query)) this.classes.unite(columnName(use, first, column), columnName(use, number, column))
    }
  }

  #sublinks(value: TreeValue, use: Use): void {
    if (!isNode(value)) {
      if (Array.isArray(value)) for (const item of value) this.#sublinks(item, use)
      return
    }
    if (value.type === 'QUERY' || value.type === 'COMMONTABLEEXPR') return
    for (const [field, item] of value.fields) if (field !== 'subselect') this.#sublinks(item, use)
    const subselect = value.type === 'SUBLINK' ? nodeAt(value, 'subselect') : undefined
    if (subselect) use.nested.push(this.#sublink(value, subselect, use))
  }

  #sublink(link: TreeNode, subselect: TreeNode, use: Use): Use {
    const kind = numberAt(link, 'subLinkType')
    if (kind === sublink.exists) return this.use(subselect, use, 'test')
    const pairs = kind === sublink.any ? this.#compared(nodeAt(link, 'testexpr')) : undefined
    const inner = this.use(subselect, use, pairs ? 'compared' : 'value')
    for (const { outer, column } of pairs ?? []) {
      this.classes.unite(this.classes.nameOf(outer, use), this.classes.nameOf(outputExpression(subselect, column), inner))
    }
    return inner
  }

  /** What `x in (select ...)` compares with which of its columns; undefined where something else than equality is asked. */
  #compared(test: TreeNode | undefined): readonly { readonly outer: TreeNode; readonly column: number }[] | undefined {
    const pairs = conjuncts(test).map((condition) => {
      const [outer, inner] = sidesOf(condition, this.#isEquality) ?? []
      const parameter = stripped(inner)
      return outer && parameter?.type === 'PARAM' ? { outer, column: numberAt(parameter, 'paramid') } : undefined
    })
    return pairs.every((pair) => pair !== undefined) ? pairs : undefined
  }
}

const sublink = { exists: 0, any: 2 } as const

function stripped(node: TreeNode | undefined): TreeNode | undefined {
  return node?.type === 'RELABELTYPE' ? stripped(nodeAt(node, 'arg')) : node
}

function outputNumbers(query: TreeNode): readonly number[] {
  return nodesAt(query, 'targetList')
    .filter((entry) => !isTrue(entry, 'resjunk'))
    .map((entry) => numberAt(entry, 'resno'))
}
