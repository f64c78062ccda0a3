import { quote } from '../database/identifier.ts'
import { exactText, type Position } from './cursor.ts'
import type { FindPlan } from './find.ts'
import { indexColumns, looseType, type StoredTable, tableSql, typeOf } from './stored-table.ts'

/**
 * How many rows a statement fetches. Written into its text, since the planner must know that they are few, and rounded up, so that limits
 * chosen by users do not make a thousand texts.
 */
export function fetched(limit: number): number {
  return ([10, 20, 30, 50, 100, 200, 500].find((step) => step >= limit) ?? 1000) + 1
}

/** What the text of a statement depends on. */
export function findShape(plan: FindPlan, position: Position | undefined): string {
  return JSON.stringify([
    plan.index ?? null,
    plan.fixed.map(({ column, value }) => [column, value === null]),
    plan.bounds.map(({ operator }) => operator),
    plan.direction,
    fetched(plan.limit),
    position?.map((text) => text === null),
  ])
}

/** The parameters, in the order in which {@link findStatement} numbers them. */
export function findValues(stored: StoredTable, { fixed, bounds, order }: FindPlan, position: Position = []): readonly unknown[] {
  return [
    ...fixed.filter(({ value }) => value !== null).map(({ column, value }) => parameter(typeOf(stored, column), value)),
    ...bounds.map(({ value }) => parameter(typeOf(stored, order[0] ?? ''), value)),
    ...position.filter((text) => text !== null),
  ]
}

/** A value as a parameter: rows show bytes as base64. */
export function parameter(type: string, value: unknown): unknown {
  return type === 'bytea' && typeof value === 'string' ? Buffer.from(value, 'base64') : value
}

/** The columns of a row; then the text of its position, as a JSON array; then how many keys are parked. */
export function findStatement(stored: StoredTable, plan: FindPlan, position: Position | undefined): string {
  const branches = conditions(stored, plan, position)
  const columns = stored.columns.map(({ name }) => `t.${quote(name)}`)
  const order = `order by ${orderList(stored, plan)} limit ${fetched(plan.limit)}`
  const texts = plan.order.map((column) => exactText(stored, column, `t.${quote(column)}`))
  const branch = (condition: string) => `(select ${columns.join(', ')} from ${tableSql(stored)} t where ${condition} ${order})`
  const rows =
    branches.length === 1 ? `${tableSql(stored)} t where ${branches[0]}` : `(${branches.map(branch).join(' union all ')}) t where true`
  return `select ${[...columns, `json_build_array(${texts.join(', ')})::text`, parkedCount(stored)].join(', ')} from ${rows} ${order}`
}

/** An expression that counts the parked keys. */
export function parkedCount(stored: StoredTable): string {
  return `(select count(*)::integer from ${quote(stored.schema)}.parked where view = ${Math.trunc(stored.view)})`
}

/** A column as it stands in the index: text by code point. */
function indexed(stored: StoredTable, column: string): string {
  const collatable = stored.columns.some(({ name, collatable }) => name === column && collatable)
  return `t.${quote(column)}${collatable ? ' collate "C"' : ''}`
}

/**
 * All columns of the index, also those that equality fixes: `is null` does not tell the planner that a column is constant. A primary key
 * without text is its own index, with PostgreSQL's default place for nulls; all other indexes have them first.
 */
function orderList(stored: StoredTable, { index, direction }: FindPlan): string {
  const columns = indexColumns(stored, index)
  const own = index === undefined && !stored.columns.some(({ name, collatable }) => collatable && stored.key.includes(name))
  const nulls = own ? '' : direction === 'asc' ? ' nulls first' : ' nulls last'
  return columns.map((column) => `${indexed(stored, column)} ${direction}${nulls}`).join(', ')
}

/** The conditions whose rows together are the answer; no row meets two of them. */
function conditions(stored: StoredTable, plan: FindPlan, position: Position | undefined): readonly string[] {
  let number = 0
  const next = (column: string) => `$${++number}::${looseType(typeOf(stored, column))}`
  const base = [
    ...plan.fixed.map(({ column, value }) =>
      value === null ? `${indexed(stored, column)} is null` : `${indexed(stored, column)} = ${next(column)}`,
    ),
    ...plan.bounds.map(({ operator }) => `${indexed(stored, plan.order[0] ?? '')} ${operator} ${next(plan.order[0] ?? '')}`),
  ]
  if (position === undefined) return [base.join(' and ') || 'true']
  const steps = plan.order.map((column, i) => ({
    sql: indexed(stored, column),
    // The cursor holds text, whatever the driver would make of the column's type.
    value: position[i] === null ? undefined : `$${++number}::text::${looseType(typeOf(stored, column))}`,
    nullable: !stored.key.includes(column) && !(i === 0 && plan.bounds.length > 0),
  }))
  const after = rowsAfter(steps, plan.direction).map((condition) => [...base, ...condition].join(' and '))
  return after.length > 0 ? after : ['false']
}

interface Step {
  readonly sql: string
  /** Undefined when the cursor stands on null. */
  readonly value: string | undefined
  readonly nullable: boolean
}

/**
 * What comes after a cursor, null being the smallest value. A row comparison is true only where no null decides, which is all there is
 * when ascending from values. Around nulls the rows fall into several ranges; an OR of them would scan the index from its beginning, so
 * each becomes a branch of its own.
 */
function rowsAfter(steps: readonly Step[], direction: 'asc' | 'desc'): readonly (readonly string[])[] {
  const operator = direction === 'asc' ? '>' : '<'
  return steps.flatMap((step, i) => {
    const ties = steps.slice(0, i).map(({ sql, value }) => (value === undefined ? `${sql} is null` : `${sql} = ${value}`))
    if (step.value === undefined) return direction === 'asc' ? [[...ties, `${step.sql} is not null`]] : []
    const begins = i === 0 || steps[i - 1]?.value === undefined
    const nulls = direction === 'desc' && step.nullable ? [[...ties, `${step.sql} is null`]] : []
    return [...(begins ? [[...ties, compare(run(steps, i), operator)]] : []), ...nulls]
  })
}

/** The steps from `start` on up to the next null. */
function run(steps: readonly Step[], start: number): readonly Step[] {
  const end = steps.findIndex(({ value }, i) => i >= start && value === undefined)
  return steps.slice(start, end < 0 ? steps.length : end)
}

function compare(steps: readonly Step[], operator: string): string {
  return `(${steps.map(({ sql }) => sql).join(', ')}) ${operator} (${steps.map(({ value }) => value).join(', ')})`
}
