import { createHash } from 'node:crypto'
import { NoIndexError } from '../errors.ts'
import { invalidCursor } from './cursor.ts'
import { type FindPlan, type FindRequest, planFind } from './find.ts'
import { afterKeys } from './key-text.ts'
import { after, compareText, orderText } from './order-text.ts'
import type { StoredModel } from './store.ts'
import type { StoredTable } from './stored-table.ts'

/** A part of an index, as {@link RangeRequest} has it, and how to write where a page of it ended. */
export interface DocumentRange {
  readonly index: number | undefined
  readonly from: string
  readonly to: string
  readonly reverse: boolean
  readonly limit: number
  /** What belongs into each cursor over this range. */
  readonly fingerprint: string
}

const cursorMax = 16_384

/**
 * The part of a declared index that serves a `find`: what equality fixes is the beginning of its texts, a range bounds what follows.
 * @throws {NoIndexError} no index serves it
 * @throws {InvalidInputError} the limit, or the cursor
 */
export function documentRange(model: StoredModel, request: FindRequest): DocumentRange {
  const plan = planned(model, request)
  const number = model.indexes.findIndex(({ name }) => name === plan.index)
  const index = plan.index === undefined ? undefined : number
  const prefix = plan.fixed.map(({ value }) => orderText(value)).join('')
  const bounds = boundsOf(prefix, plan)
  const range = {
    index,
    from: bounds.from,
    to: index === undefined ? afterKeys : bounds.to,
    reverse: plan.direction === 'desc',
    limit: plan.limit,
    fingerprint: fingerprintOf(plan, bounds),
  }
  return request.after === undefined || request.after === null ? range : goneOn(range, request.after)
}

/** The cursor of a page that ended at a text. */
export function documentCursor({ fingerprint }: DocumentRange, at: string): string {
  return Buffer.from(JSON.stringify([fingerprint, at])).toString('base64url')
}

/** Documents are planned for like tables that have their indexed members as columns, and nothing else to order by. */
function planned(model: StoredModel, request: FindRequest): FindPlan {
  const fields = [...new Set(model.indexes.flatMap((index) => index.fields))]
  const table: StoredTable = {
    schema: '',
    table: model.name,
    columns: fields.map((name) => ({ name, type: 'text', collatable: true })),
    key: [],
    indexes: Object.fromEntries(model.indexes.map((index) => [index.name, index.fields])),
    view: 0,
  }
  try {
    return planFind(table, request, model.name)
  } catch (error) {
    if (!(error instanceof NoIndexError)) throw error
    const { asked } = error.details as { readonly asked: string }
    throw new NoIndexError(
      model.name,
      asked,
      model.indexes.map(({ name, fields }) => `${name} (${fields.join(', ')})`),
    )
  }
}

/** Texts of one field have one beginning for each type: numbers are in no range of texts, and null is in none. */
function boundsOf(prefix: string, { bounds }: FindPlan): { readonly from: string; readonly to: string } {
  const [first] = bounds
  if (!first) return { from: prefix, to: `${prefix}${after}` }
  const [low, high] =
    typeof first.value === 'boolean' ? ['1', '3'] : [orderText(first.value)[0], String(Number(orderText(first.value)[0]) + 1)]
  let [from, to] = [`${prefix}${low}`, `${prefix}${high}`]
  for (const { operator, value } of bounds) {
    const text = `${prefix}${orderText(value)}`
    if (operator === '>') from = later(from, text + after)
    else if (operator === '>=') from = later(from, text)
    else if (operator === '<') to = earlier(to, text)
    else to = earlier(to, text + after)
  }
  return { from, to }
}

function later(a: string, b: string): string {
  return compareText(a, b) < 0 ? b : a
}

function earlier(a: string, b: string): string {
  return compareText(a, b) < 0 ? a : b
}

/** What two finds must have in common for one to go on from the other's cursor. Not the version: paging goes on over a switch. */
function fingerprintOf({ order, fixed, direction }: FindPlan, bounds: { readonly from: string; readonly to: string }): string {
  const text = JSON.stringify([order, fixed.map(({ column }) => column), direction, bounds.from, bounds.to])
  return createHash('sha256').update(text).digest('base64url').slice(0, 16)
}

function goneOn(range: DocumentRange, cursor: unknown): DocumentRange {
  const [fingerprint, at] = parts(cursor)
  if (at === undefined) throw invalidCursor('the cursor does not parse; give "next" of the page before')
  if (fingerprint !== range.fingerprint) {
    throw invalidCursor('the cursor belongs to a find with another condition or order; begin again without it')
  }
  if (range.reverse) return { ...range, to: earlier(range.to, at) }
  // No text of an index begins with another one of it; of keys this one is the next that may be.
  return { ...range, from: later(range.from, at + (range.index === undefined ? '\u0001' : after)) }
}

function parts(cursor: unknown): readonly string[] {
  if (typeof cursor !== 'string' || cursor.length > cursorMax) return []
  try {
    const found: unknown = JSON.parse(Buffer.from(cursor, 'base64url').toString())
    return Array.isArray(found) && found.every(isText) ? found : []
  } catch {
    return []
  }
}

function isText(part: unknown): part is string {
  return typeof part === 'string' && part.isWellFormed() && !part.includes('\u0000')
}
