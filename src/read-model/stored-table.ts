import { quote } from '../database/identifier.ts'
import { DefinitionError } from '../errors.ts'

/** The table that holds the live version of a read model, as its reader must know it. */
export interface StoredTable {
  /** The schema of the table, and of the table of parked keys. */
  readonly schema: string
  readonly table: string
  /** `type` as `format_type` writes it; `collatable` when the type has a collation. */
  readonly columns: readonly { readonly name: string; readonly type: string; readonly collatable: boolean }[]
  readonly key: readonly string[]
  readonly indexes: Readonly<Record<string, readonly string[]>>
  /** The id under which keys of this version are parked. */
  readonly view: number
}

/** The quoted, qualified name. */
export function tableSql(stored: StoredTable): string {
  return `${quote(stored.schema)}.${quote(stored.table)}`
}

/**
 * The columns that an index physically has: those declared, then the columns of the key that are missing, so that the order is total.
 * `undefined` stands for the primary key.
 */
export function indexColumns(stored: StoredTable, index: string | undefined): readonly string[] {
  const declared = index === undefined ? stored.key : (stored.indexes[index] ?? [])
  return [...declared, ...stored.key.filter((column) => !declared.includes(column))]
}

/**
 * Whether an index is ordered, as `find` needs it. One that begins with words, JSON or an array finds what they contain, and serves plain
 * `sql` alone.
 */
export function isOrdered(stored: StoredTable, index: string): boolean {
  return !/^(tsvector|jsonb)$|\[\]$/.test(typeOf(stored, stored.indexes[index]?.[0] ?? ''))
}

/** The type of a column. */
export function typeOf(stored: StoredTable, column: string): string {
  return stored.columns.find(({ name }) => name === column)?.type ?? 'text'
}

/**
 * `type` without its length or precision: a cast to `varchar(3)` or `numeric(4,1)` would cut or round what is looked for, and then find
 * another row.
 */
export function looseType(type: string): string {
  if (type.includes('"')) return type
  const loose = type.startsWith('interval') ? type.replace(/^interval[^[]*/, 'interval') : type.replace(/\(-?\d+(,-?\d+)?\)/, '')
  return loose.replace(/^character(?=$|\[)/, 'bpchar').replace(/^bit(?=$|\[)/, '"bit"')
}

const columnsMax = 32

/** Types that PostgreSQL cannot order, and those whose order or text no reader could use. */
export const unorderedTypes: readonly string[] = [
  ...['json', 'jsonb', 'jsonpath', 'xml', 'point', 'line', 'lseg', 'box', 'path', 'polygon', 'circle', 'money'],
  ...['xid', 'cid', 'aclitem', 'refcursor', 'pg_snapshot', 'txid_snapshot', 'pg_node_tree'],
]

/**
 * Refuses indexes that could not be created or used.
 * @throws {DefinitionError} an index without columns, an unknown or repeated column, a type without an order
 */
export function checkIndexes(stored: StoredTable, unordered: readonly string[] = unorderedTypes): void {
  for (const index of Object.keys(stored.indexes)) {
    const fault = indexFault(stored, index, unordered)
    if (fault !== undefined) throw new DefinitionError(`${stored.table}: index ${JSON.stringify(index)}: ${fault}`)
  }
}

function indexFault(stored: StoredTable, index: string, unordered: readonly string[]): string | undefined {
  const declared = stored.indexes[index] ?? []
  if (declared.length === 0) return 'it names no column'
  if (indexColumns(stored, index).length > columnsMax) return `PostgreSQL takes at most ${columnsMax} columns, those of the key included`
  const repeated = declared.find((column, i) => declared.indexOf(column) !== i)
  if (repeated !== undefined) return `column ${JSON.stringify(repeated)} stands in it twice`
  const unknown = declared.find((column) => !stored.columns.some(({ name }) => name === column))
  if (unknown !== undefined) {
    return `there is no column ${JSON.stringify(unknown)}; there is: ${stored.columns.map(({ name }) => name).join(', ')}`
  }
  if (!isOrdered(stored, index)) {
    return declared.length === 1 ? undefined : `it searches the contents of ${JSON.stringify(declared[0])}, and must have that column alone`
  }
  const column = declared.find((name) => unordered.includes(looseType(typeOf(stored, name)).replace(/(\[\])+$/, '')))
  if (column === undefined) return undefined
  return `column ${JSON.stringify(column)} is ${typeOf(stored, column)}, which has no order to search by; select what you look for as a column`
}
