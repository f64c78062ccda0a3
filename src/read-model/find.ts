import { InvalidInputError, NoIndexError, UsageError } from '../errors.ts'
import { indexColumns, isOrdered, type StoredTable } from './stored-table.ts'

/** `FindOptions` before its columns are checked. */
export interface FindRequest {
  readonly where?: Readonly<Record<string, unknown>> | undefined
  readonly orderBy?: Readonly<Record<string, string | undefined>> | undefined
  readonly limit?: number | undefined
  readonly after?: string | null | undefined
}

export interface Bound {
  readonly operator: '>' | '>=' | '<' | '<='
  readonly value: unknown
}

/** How an index answers a `find`. */
export interface FindPlan {
  /** The name of the index, or undefined for the primary key. */
  readonly index: string | undefined
  /** The columns of the index that equality fixes: its first ones. Null stands for `is null`. */
  readonly fixed: readonly { readonly column: string; readonly value: unknown }[]
  /** Bounds on the first column of `order`. */
  readonly bounds: readonly Bound[]
  /** The other columns of the index, by which the rows are ordered. */
  readonly order: readonly string[]
  readonly direction: 'asc' | 'desc'
  readonly limit: number
}

interface Asked {
  readonly fixed: ReadonlyMap<string, unknown>
  readonly ranges: ReadonlyMap<string, readonly Bound[]>
  readonly orderBy: readonly string[]
  readonly direction: 'asc' | 'desc'
}

const operators = { gt: '>', gte: '>=', lt: '<', lte: '<=' } as const
const limitMax = 1000

/**
 * Chooses the index that serves a `find`: the columns compared for equality are its first ones in any order, then comes at most one
 * column with a range, and the columns of `orderBy` go on from there in the index's order. The primary key goes before declared indexes,
 * a short index before a long one.
 *
 * @throws {NoIndexError} no index serves it
 * @throws {InvalidInputError} `limit` is not a whole number from 1 to 1,000
 * @throws {UsageError} an unknown column, an undefined value, a direction that is none
 */
export function planFind(stored: StoredTable, request: FindRequest, readModel: string = stored.table): FindPlan {
  const limit = request.limit ?? 100
  if (!(Number.isInteger(limit) && limit >= 1 && limit <= limitMax)) {
    throw new InvalidInputError('find', [{ path: ['limit'], message: `a whole number from 1 to ${limitMax} is expected` }])
  }
  const asked = read(stored, request, readModel)
  const names = candidates(stored)
  const chosen = names.findIndex((name) => serves(indexColumns(stored, name), asked))
  if (chosen < 0) throw noIndex(stored, readModel, describe(asked))
  const index = names[chosen]
  const columns = indexColumns(stored, index)
  const order = columns.slice(asked.fixed.size)
  return {
    index,
    fixed: columns.slice(0, asked.fixed.size).map((column) => ({ column, value: asked.fixed.get(column) })),
    bounds: asked.ranges.get(order[0] ?? '') ?? [],
    order,
    direction: asked.direction,
    limit,
  }
}

/** The primary key and the ordered indexes from short to long, whatever the order of their declaration. */
function candidates(stored: StoredTable): readonly (string | undefined)[] {
  const length = (name: string) => stored.indexes[name]?.length ?? 0
  const ordered = Object.keys(stored.indexes).filter((name) => isOrdered(stored, name))
  return [undefined, ...ordered.sort((a, b) => length(a) - length(b) || (a < b ? -1 : 1))]
}

function serves(columns: readonly string[], { fixed, ranges, orderBy }: Asked): boolean {
  const first = columns.slice(0, fixed.size)
  const rest = columns.slice(fixed.size)
  const wanted = orderBy.filter((column) => !fixed.has(column))
  return (
    first.length === fixed.size &&
    first.every((column) => fixed.has(column)) &&
    ranges.size <= 1 &&
    [...ranges.keys()].every((column) => column === rest[0]) &&
    wanted.every((column, i) => column === rest[i])
  )
}

function read(stored: StoredTable, { where = {}, orderBy = {} }: FindRequest, readModel: string): Asked {
  const fixed = new Map<string, unknown>()
  const ranges = new Map<string, readonly Bound[]>()
  for (const [column, condition] of Object.entries(where)) {
    checkColumn(stored, readModel, column)
    if (condition === undefined) {
      throw new UsageError(`${readModel}.find: the value for ${column} is undefined; leave the column out, or give null for "is null"`)
    }
    if (!isRange(condition)) fixed.set(column, condition)
    else {
      const bounds = boundsOf(readModel, column, condition)
      if (bounds.length > 0) ranges.set(column, bounds)
    }
  }
  for (const column of Object.keys(orderBy)) checkColumn(stored, readModel, column)
  const direction = directionOf(stored, readModel, orderBy)
  return { fixed, ranges, orderBy: Object.keys(orderBy), direction }
}

function checkColumn(stored: StoredTable, readModel: string, column: string): void {
  if (stored.columns.some(({ name }) => name === column)) return
  const known = stored.columns.map(({ name }) => name).join(', ')
  throw new UsageError(`${readModel}.find: there is no column ${JSON.stringify(column)}; there is: ${known}`)
}

/** Plain objects are ranges; a date, bytes or an array is a value. */
function isRange(condition: unknown): condition is Readonly<Record<string, unknown>> {
  if (typeof condition !== 'object' || condition === null) return false
  const prototype: unknown = Object.getPrototypeOf(condition)
  return prototype === Object.prototype || prototype === null
}

/** Bounds that are undefined are left out: `{ lt: input.before }` asks for no bound when there is no `before`. */
function boundsOf(readModel: string, column: string, condition: Readonly<Record<string, unknown>>): readonly Bound[] {
  const bounds = Object.entries(condition).map(([name, value]) => {
    const operator = Object.hasOwn(operators, name) ? operators[name as keyof typeof operators] : undefined
    if (operator === undefined) {
      throw new UsageError(`${readModel}.find: ${JSON.stringify(name)} for ${column} is no bound; there is: gt, gte, lt, lte`)
    }
    if (value === null)
      throw new UsageError(`${readModel}.find: ${name} for ${column} is null; null is in no range, compare it for equality`)
    return { operator, value }
  })
  if (bounds.length === 0) throw new UsageError(`${readModel}.find: the range for ${column} is empty; give gt, gte, lt or lte`)
  return bounds.filter(({ value }) => value !== undefined)
}

function directionOf(stored: StoredTable, readModel: string, orderBy: Readonly<Record<string, string | undefined>>): 'asc' | 'desc' {
  const directions = new Set(Object.values(orderBy))
  for (const direction of directions) {
    if (direction !== 'asc' && direction !== 'desc') {
      throw new UsageError(`${readModel}.find: ${JSON.stringify(direction)} is no direction; there is: asc, desc`)
    }
  }
  if (directions.size > 1) {
    const text = Object.entries(orderBy).map(([column, direction]) => `${column} ${direction}`)
    throw noIndex(stored, readModel, `order by ${text.join(', ')} (all columns must go in one direction)`)
  }
  return directions.has('desc') ? 'desc' : 'asc'
}

function describe({ fixed, ranges, orderBy, direction }: Asked): string {
  const conditions = [
    ...[...fixed].map(([column, value]) => (value === null ? `${column} is null` : `${column} = ?`)),
    ...[...ranges].flatMap(([column, bounds]) => bounds.map(({ operator }) => `${column} ${operator} ?`)),
  ]
  const order = orderBy.map((column) => `${column} ${direction}`)
  return [
    ...(conditions.length > 0 ? [`where ${conditions.join(' and ')}`] : []),
    ...(order.length > 0 ? [`order by ${order.join(', ')}`] : []),
  ].join(' ')
}

function noIndex(stored: StoredTable, readModel: string, asked: string): NoIndexError {
  const declared = Object.entries(stored.indexes).map(
    ([name, columns]) => `${name} (${columns.join(', ')})${isOrdered(stored, name) ? '' : ' for sql alone'}`,
  )
  return new NoIndexError(readModel, asked, [`primary key (${stored.key.join(', ')})`, ...declared])
}
