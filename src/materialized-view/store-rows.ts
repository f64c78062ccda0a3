import { quote } from '../database/identifier.ts'
import { DatabaseError } from '../errors.ts'
import { keyText } from '../read-model/key-text.ts'
import type { ViewRuntime, ViewVersion } from './registry.ts'

/** What the SELECT says of a key. */
export interface SelectedRow {
  /** As a store has it. */
  readonly key: string
  /** As the database port delivers it; undefined: there is none. */
  readonly row: Readonly<Record<string, unknown>> | undefined
  /** A mark, or a parked key, may explain what a store has instead. */
  readonly waiting: boolean
}

/** A key whose row could not be had. */
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

/** Errors that are not a key's own: the connection, resources, a changed schema. */
const notOfKey = /^(08|0A|25|26|3D|3F|40|42|53|54|55|57|58|F0|XX|HW)/

/** Selects the rows of some keys in one snapshot. Keys that fail alone are told apart by halving. */
export async function selectRows(runtime: ViewRuntime, version: ViewVersion, keys: readonly string[], waiting = false): Promise<Selected> {
  try {
    return checked(await select(runtime, version, keys, waiting))
  } catch (error) {
    if (!(error instanceof DatabaseError) || notOfKey.test(error.sqlState)) throw error
    const [first = ''] = keys
    if (keys.length === 1) return { rows: [], failed: [{ key: first, reason: error.message, sqlState: error.sqlState }] }
    const half = Math.ceil(keys.length / 2)
    const a = await selectRows(runtime, version, keys.slice(0, half), waiting)
    const b = await selectRows(runtime, version, keys.slice(half), waiting)
    return checked([...a.rows, ...b.rows], [...a.failed, ...b.failed])
  }
}

async function select(
  { database, schema }: ViewRuntime,
  { id, shape }: ViewVersion,
  keys: readonly string[],
  waiting: boolean,
): Promise<readonly SelectedRow[]> {
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

/** Sets aside keys that no store takes, and those of several rows. */
function checked(rows: readonly SelectedRow[], failed: readonly FailedKey[] = []): Selected {
  const byKey = new Map<string, SelectedRow>()
  const faults = new Map(failed.map((one) => [one.key, one]))
  for (const row of rows) {
    const fault = byKey.has(row.key) ? 'the SELECT gives several rows for this key' : row.row && faultOf(row.key)
    if (fault) faults.set(row.key, { key: row.key, reason: fault, sqlState: '21000' })
    byKey.set(row.key, row)
  }
  return { rows: [...byKey.values()].filter(({ key }) => !faults.has(key)), failed: [...faults.values()] }
}

function faultOf(key: string): string | undefined {
  try {
    keyText(key)
    return undefined
  } catch (error) {
    return error instanceof Error ? error.message : String(error)
  }
}
