import type { SqlClient } from '../database/database.ts'
import { DatabaseError } from '../errors.ts'
import { refusedRow } from './refused-row.ts'
import type { Batch, RowChange, StoredModel } from './store.ts'

/** A text that is longer may not fit into an entry of an index (2,704 bytes), which has to be known before there is one. */
const indexBytesMax = 2_600

/** A change that PostgreSQL does not take, and why. */
export interface RefusedChange {
  readonly change: RowChange
  readonly reason: string
}

/** Whether a statement failed for what it was given: characters or JSON that cannot be, a number or text too large, nested too deeply. */
export function isRefusal(error: unknown): error is DatabaseError {
  return error instanceof DatabaseError && /^(22|54)/.test(error.sqlState)
}

/** The batch with the keys of changes set aside instead of written; the same batch where there are none. */
export function withoutRefused(batch: Batch, refused: readonly RefusedChange[]): Batch {
  if (refused.length === 0) return batch
  const changes = new Set(refused.map(({ change }) => change))
  const keys = new Set(refused.map(({ change }) => change.key))
  const park = refused.map(({ change, reason }) => refusedRow(batch, change, reason))
  return {
    ...batch,
    rows: batch.rows.filter((change) => !changes.has(change)),
    park: [...batch.park.filter(({ key }) => !keys.has(key)), ...park],
  }
}

/** Changes whose texts no index could take. */
export function tooLongForIndex(model: StoredModel, rows: readonly RowChange[]): readonly RefusedChange[] {
  return rows.flatMap((change) => {
    const i = change.index.findIndex((text) => text.length > indexBytesMax / 3 && Buffer.byteLength(text) > indexBytesMax)
    const name = model.indexes[i]?.name ?? i
    return i < 0 ? [] : [{ change, reason: `what index ${name} orders the row by is longer than ${indexBytesMax} bytes` }]
  })
}

/** Which changes fail, found by halves: each part is written within the transaction, and taken back. */
export async function refusedAmong(client: SqlClient, trial: string, changes: readonly RowChange[]): Promise<readonly RefusedChange[]> {
  const [change] = changes
  if (!change) return []
  const error = await failureOf(client, trial, changes)
  if (!error) return []
  if (changes.length === 1) return [{ change, reason: `PostgreSQL cannot hold the row: ${saidOf(error)}` }]
  const middle = changes.length >> 1
  const before = await refusedAmong(client, trial, changes.slice(0, middle))
  return [...before, ...(await refusedAmong(client, trial, changes.slice(middle)))]
}

async function failureOf(client: SqlClient, trial: string, changes: readonly RowChange[]): Promise<DatabaseError | undefined> {
  await client.query('savepoint trial')
  let failure: DatabaseError | undefined
  try {
    await client.query(trial, rowValues(changes))
  } catch (error) {
    if (!isRefusal(error)) throw error
    failure = error
  }
  await client.query('rollback to savepoint trial')
  return failure
}

/** With the detail, which often says more: the driver's error has it. */
function saidOf({ message, cause }: DatabaseError): string {
  const detail: unknown = cause instanceof Error ? Reflect.get(cause, 'detail') : undefined
  return typeof detail === 'string' ? `${message}: ${detail}` : message
}

/** The columns of changes, each an array. */
export function rowValues(rows: readonly RowChange[]): readonly (readonly unknown[])[] {
  return [
    rows.map(({ key }) => key),
    rows.map(({ row }) => row),
    rows.map(({ was }) => was ?? null),
    rows.map(({ position }) => position),
    rows.map(({ version }) => version),
    rows.map(({ index }) => arrayText(index)),
  ]
}

/** An array within an array's element: PostgreSQL has no arrays of arrays of different lengths. */
function arrayText(items: readonly string[]): string {
  return `{${items.map((item) => `"${item.replace(/["\\]/g, '\\$&')}"`).join(',')}}`
}
