import { functionRefusal, isMomentCast, keywordRefusal, momentRefusal } from './function-rule.ts'
import { isNode, isTrue, listAt, nodeAt, nodesAt, numberAt, type TreeNode, type TreeValue } from './node-tree.ts'
import { entryKind, entryOf, fromEntries, partsOf, type QueryScope, scopeUp } from './query-tree.ts'
import type { Refusal } from './refusal.ts'
import { type Catalog, castTypes, functionFields, operatorsOf, type RelationFact } from './select-catalog.ts'

/** A table as the SELECT reads it. */
export interface TableRead {
  readonly table: RelationFact
  /** Numbers of columns; `'*'` when a whole row is taken. */
  columns: Set<number> | '*'
  /** Whether rows of partitions and inheriting tables are read with it. */
  descends: boolean
}

export interface Reads {
  readonly tables: ReadonlyMap<number, TableRead>
  readonly refusals: readonly Refusal[]
}

/**
 * Follows a query through its subqueries, CTEs, views and BEGIN ATOMIC functions, and says which tables and which of their columns it
 * reads, and what in it cannot be kept. `place` says where the query stands, for the messages.
 */
export function readsOf(
  queries: readonly TreeNode[],
  catalog: Catalog,
  options: { readonly place: string; readonly vouched: boolean },
): Reads {
  const walk = new Walk(catalog, options)
  for (const query of queries) walk.query(query, undefined)
  return { tables: walk.tables, refusals: [...walk.refusals.values()] }
}

class Walk {
  readonly tables = new Map<number, TableRead>()
  readonly refusals = new Map<string, Refusal>()
  readonly #catalog: Catalog
  readonly #vouched: boolean
  readonly #followed = new Set<number>()
  #place: string

  constructor(catalog: Catalog, { place, vouched }: { readonly place: string; readonly vouched: boolean }) {
    this.#catalog = catalog
    this.#place = place
    this.#vouched = vouched
  }

  query(query: TreeNode, outer: QueryScope | undefined): void {
    const scope = { query, outer }
    for (const index of fromEntries(query)) this.#entry(entryOf(query, index))
    if (listAt(query, 'rowMarks').length > 0) this.#refuse(lockRefusal(this.#place))
    for (const part of partsOf(query)) this.#part(part, scope)
  }

  #entry(entry: TreeNode | undefined): void {
    if (!entry || numberAt(entry, 'rtekind') !== entryKind.table) return
    const relation = this.#catalog.relations.get(numberAt(entry, 'relid'))
    if (!relation) return
    if (nodeAt(entry, 'tablesample')) this.#refuse(sampleRefusal(relation.name, this.#place))
    if (relation.query && !relation.system) this.#follow(relation.oid, `${this.#place}, in the view ${relation.name},`, [relation.query])
    else this.#table(relation).descends ||= isTrue(entry, 'inh')
  }

  #table(relation: RelationFact): TableRead {
    const known = this.tables.get(relation.oid)
    if (known) return known
    const read: TableRead = { table: relation, columns: new Set(), descends: false }
    this.tables.set(relation.oid, read)
    return read
  }

  /** Views and functions are looked into once each. */
  #follow(oid: number, place: string, queries: readonly TreeNode[]): void {
    if (this.#followed.has(oid)) return
    this.#followed.add(oid)
    const before = this.#place
    this.#place = place
    for (const query of queries) this.query(query, undefined)
    this.#place = before
  }

  #part(value: TreeValue, scope: QueryScope): void {
    if (!isNode(value)) {
      if (Array.isArray(value)) for (const item of value) this.#part(item, scope)
      return
    }
    if (value.type === 'QUERY') {
      this.query(value, scope)
      return
    }
    if (value.type === 'VAR') {
      this.#variable(value, scope)
      return
    }
    this.#check(value)
    for (const field of value.fields.values()) this.#part(field, scope)
  }

  #variable(node: TreeNode, scope: QueryScope): void {
    const at = scopeUp(scope, numberAt(node, 'varlevelsup'))
    const entry = at && entryOf(at.query, numberAt(node, 'varno'))
    if (!at || !entry) return
    const column = numberAt(node, 'varattno')
    const kind = numberAt(entry, 'rtekind')
    if (kind === entryKind.join) {
      const aliases = nodesAt(entry, 'joinaliasvars')
      for (const alias of column === 0 ? aliases : aliases.slice(column - 1, column)) this.#part(alias, at)
    } else if (kind === entryKind.table) {
      const relation = this.#catalog.relations.get(numberAt(entry, 'relid'))
      if (relation && (!relation.query || relation.system)) this.#column(relation, column)
    }
  }

  #column(relation: RelationFact, column: number): void {
    if (column < 0) {
      this.#refuse(systemColumnRefusal(relation.name, this.#place))
      return
    }
    const read = this.#table(relation)
    if (column === 0) read.columns = '*'
    if (read.columns === '*') return
    const fact = relation.columns.find(({ number }) => number === column)
    if (fact?.generated !== 'virtual') read.columns.add(column)
    for (const source of fact?.madeFrom ?? []) {
      if (source === 0) read.columns = '*'
      else if (read.columns !== '*' && source > 0) read.columns.add(source)
    }
  }

  #check(node: TreeNode): void {
    if (node.type === 'SQLVALUEFUNCTION') this.#refuse(keywordRefusal(node, this.#place))
    for (const field of functionFields) this.#function(numberAt(node, field))
    for (const oid of operatorsOf(node)) this.#function(this.#catalog.operators.get(oid)?.function ?? 0)
    const { from, to } = castTypes(node)
    this.#function(this.#catalog.conversions.get(from)?.output ?? 0)
    this.#function(this.#catalog.conversions.get(to)?.input ?? 0)
    if (isMomentCast(node)) this.#refuse(momentRefusal('that names a moment (now, today, ...)', this.#place))
  }

  #function(oid: number): void {
    const fact = this.#catalog.functions.get(oid)
    if (!fact) return
    const refusal = functionRefusal(fact, this.#place, this.#vouched)
    if (refusal) this.#refuse(refusal)
    else if (fact.body) this.#follow(oid, `${this.#place}, in the function ${fact.signature},`, fact.body)
  }

  #refuse(refusal: Refusal): void {
    this.refusals.set(`${refusal.code} ${refusal.subject}`, refusal)
  }
}

function lockRefusal(place: string): Refusal {
  return {
    code: 'row_locks',
    subject: 'for update',
    message: `${place} locks rows (FOR UPDATE or FOR SHARE), and reading must not wait for writers; leave the clause out`,
  }
}

function sampleRefusal(table: string, place: string): Refusal {
  return {
    code: 'tablesample',
    subject: table,
    message: `${place} takes a sample of ${table} (TABLESAMPLE), so what a row says would be chance; leave it out`,
  }
}

function systemColumnRefusal(table: string, place: string): Refusal {
  return {
    code: 'system_column',
    subject: table,
    message:
      `${place} reads a system column of ${table} (ctid, xmin, xmax, cmin, cmax or tableoid), which says where a row lies and not what it ` +
      'is; keep what you need in a column of your own',
  }
}
