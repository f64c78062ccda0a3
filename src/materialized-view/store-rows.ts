import { quote } from '../database/identifier.ts'
import { DatabaseError } from '../errors.ts'
import { keyText } from '../read-model/key-text.ts'
import type { ViewRuntime } from './registry.ts'
import { indexTexts, keyIndex, type StoredView } from './stored-view.ts'

/** A row as a store takes it. */
export interface MadeRow {
  readonly json: string
  /** For each index of the version the text that orders the row in it. */
  readonly index: readonly string[]
}

/** What the SELECT says of a key. */
export interface SelectedRow {
  /** As a store has it. */
  readonly key: string
  /** Undefined: there is none. */
  readonly row: MadeRow | undefined
  /** A mark, or a parked key, may explain what a store has instead. */
  readonly waiting: boolean
}

/** A key whose row could not be had, or is none that a store takes. */
export interface FailedKey {
  readonly key: string
  readonly reason: string
  readonly sqlState: string
}

export interface Selected {
  readonly rows: readonly SelectedRow[]
  readonly failed: readonly FailedKey[]
}

const fewMax = 64

/** As for projections: what every store can have in an index. */
const indexBytesMax = 2048

/** Errors that are not a key's own: the connection, resources, a changed schema. 54000 is a value that is too much for an index or a type. */
const notOfKey = /^(08|0A|25|26|3D|3F|40|42|53|54(?!000)|55|57|58|F0|XX|HW)/

/** Selects the rows of some keys in one snapshot. Keys that fail alone are told apart by halving. */
export async function selectRows(runtime: ViewRuntime, view: StoredView, keys: readonly string[], waiting = false): Promise<Selected> {
  try {
    return judged(view, await select(runtime, view, keys, waiting))
  } catch (error) {
    if (!(error instanceof DatabaseError) || notOfKey.test(error.sqlState)) throw error
    const [first = ''] = keys
    if (keys.length === 1) return { rows: [], failed: [{ key: first, reason: error.message, sqlState: error.sqlState }] }
    const half = Math.ceil(keys.length / 2)
    const a = await selectRows(runtime, view, keys.slice(0, half), waiting)
    const b = await selectRows(runtime, view, keys.slice(half), waiting)
    // Two texts of one key may be in both.
    const failed = new Map([...a.failed, ...b.failed].map((one) => [one.key, one]))
    const rows = new Map([...a.rows, ...b.rows].map((row) => [row.key, row]))
    return { rows: [...rows.values()].filter(({ key }) => !failed.has(key)), failed: [...failed.values()] }
  }
}

interface RawRow {
  readonly key: string
  /** As the database port delivers it. */
  readonly row: Readonly<Record<string, unknown>> | undefined
  readonly waiting: boolean
}

async function select(
  { database, schema }: ViewRuntime,
  { version: { id, shape } }: StoredView,
  keys: readonly string[],
  waiting: boolean,
): Promise<readonly RawRow[]> {
  const { rows } = await database.query<readonly unknown[]>(
    `select * from ${quote(schema)}.rows_${keys.length <= fewMax ? 'few' : 'many'}_${id}($1, $2)`,
    [keys, waiting],
    { rowMode: 'array', prepare: true },
  )
  return rows.map(([key, found, wait, ...values]) => ({
    key: String(key),
    row: found === true ? Object.fromEntries(shape.columns.map(({ name }, i) => [name, values[i]])) : undefined,
    waiting: wait === true,
  }))
}

/** Makes of what came back what a store takes, and sets aside keys and rows that no store does, and keys of several rows. */
function judged(view: StoredView, rows: readonly RawRow[]): Selected {
  const sound = new Map<string, SelectedRow>()
  const failed = new Map<string, FailedKey>()
  for (const { key, row, waiting } of rows) {
    const made = row && madeRow(view, row, key)
    const fault = sound.has(key) || failed.has(key) ? 'the SELECT gives several rows for this key' : typeof made === 'string' && made
    if (fault) failed.set(key, { key, reason: fault, sqlState: '21000' })
    else sound.set(key, { key, row: typeof made === 'object' ? made : undefined, waiting })
  }
  return { rows: [...sound.values()].filter(({ key }) => !failed.has(key)), failed: [...failed.values()] }
}

/** A text says why there can be none. */
function madeRow(view: StoredView, row: Readonly<Record<string, unknown>>, key: string): MadeRow | string {
  const keyFault = faultOfKey(key)
  if (keyFault !== undefined) return keyFault
  const json = JSON.stringify(row)
  // Only then may there be something: JSON.stringify() writes both as escapes.
  const rowFault = /\\u(0000|d[89a-f])/.test(json) ? faultIn(row, []) : undefined
  if (rowFault !== undefined) return rowFault
  const index = indexTexts(view, row, key)
  const long = index.findIndex((text, i) => isLong(text) && view.model.indexes[i]?.name !== keyIndex)
  if (long < 0) return { json, index }
  return `what index ${view.model.indexes[long]?.name} orders the row by is longer than ${indexBytesMax} bytes`
}

function isLong(text: string): boolean {
  // A UTF-16 unit has at most three bytes.
  return text.length > indexBytesMax / 3 && Buffer.byteLength(text) > indexBytesMax
}

function faultOfKey(key: string): string | undefined {
  try {
    keyText(key)
    return undefined
  } catch (error) {
    return error instanceof Error ? error.message : String(error)
  }
}

/** A column of type json keeps any text that is JSON, though what it stands for may be no text. */
function faultIn(value: unknown, path: readonly string[]): string | undefined {
  if (typeof value === 'string') {
    const at = path.join('.')
    if (value.includes('\u0000')) return `the row at ${at} contains the character U+0000, which not every store can keep`
    return value.isWellFormed() ? undefined : `the row at ${at} contains half of a surrogate pair, which is no valid text`
  }
  if (typeof value !== 'object' || value === null) return undefined
  for (const [name, member] of Object.entries(value)) {
    const fault = (Array.isArray(value) ? undefined : faultIn(name, path)) ?? faultIn(member, [...path, name])
    if (fault !== undefined) return fault
  }
  return undefined
}
