import { createHash } from 'node:crypto'
import { InvalidInputError } from '../errors.ts'
import type { FindPlan } from './find.ts'
import { looseType, type StoredTable, typeOf } from './stored-table.ts'

/** Where a page ended: PostgreSQL's own text of the columns that order it, which a JavaScript value could round. */
export type Position = readonly (string | null)[]

const lengthMax = 65_536
const times = new Set(['date', 'timestamp without time zone', 'timestamp with time zone', 'time without time zone', 'time with time zone'])

/**
 * SQL for the exact text of a column. Times go through JSON, which is ISO 8601 with all digits and the offset whatever `DateStyle` and
 * `TimeZone` are, and `infinity` as such.
 */
export function exactText(stored: StoredTable, column: string, sql: string): string {
  return times.has(looseType(typeOf(stored, column))) ? `to_jsonb(${sql}) #>> '{}'` : `${sql}::text`
}

/** The opaque text of a position in the rows of `plan`. */
export function encodeCursor(stored: StoredTable, plan: FindPlan, position: Position): string {
  return Buffer.from(JSON.stringify([fingerprint(stored, plan), ...position])).toString('base64url')
}

/** @throws {InvalidInputError} the text is no cursor, or one of a `find` that asked something else */
export function decodeCursor(stored: StoredTable, plan: FindPlan, cursor: unknown): Position {
  const [found, ...position] = parts(cursor)
  if (found === undefined) throw invalidCursor('the cursor does not parse; give "next" of the page before')
  if (found !== fingerprint(stored, plan) || position.length !== plan.order.length) {
    throw invalidCursor('the cursor belongs to a find with another condition or order; begin again without it')
  }
  return position
}

export function invalidCursor(message: string, options?: { readonly cause: unknown }): InvalidInputError {
  const error = new InvalidInputError('find', [{ path: ['after'], message }])
  if (options) error.cause = options.cause
  return error
}

function parts(cursor: unknown): Position {
  if (typeof cursor !== 'string' || cursor.length > lengthMax) return []
  try {
    const found: unknown = JSON.parse(Buffer.from(cursor, 'base64url').toString())
    return Array.isArray(found) && found.every(isPart) ? found : []
  } catch {
    return []
  }
}

function isPart(part: unknown): part is string | null {
  return part === null || (typeof part === 'string' && part.isWellFormed() && !part.includes('\u0000'))
}

/**
 * What a cursor must have in common with the `find` that goes on from it: the columns with their types, the direction and the condition.
 * Not the version of the read model: paging goes on over a switch.
 */
function fingerprint(stored: StoredTable, { fixed, bounds, order, direction }: FindPlan): string {
  const columns = order.map((column) => [column, typeOf(stored, column)])
  const text = JSON.stringify([columns, direction, fixed, bounds], (_key, value: unknown) =>
    typeof value === 'bigint' ? `${value}` : value,
  )
  return createHash('sha256').update(text).digest('base64url').slice(0, 16)
}
