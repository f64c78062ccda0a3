import { quote } from '../database/identifier.ts'
import { canonicalJson } from '../internal/json.ts'
import { afterKeys } from '../read-model/key-text.ts'
import { unknownStoreError } from '../read-model/unknown-store.ts'
import type { ViewRuntime, ViewVersion } from './registry.ts'
import { type MadeRow, selectRows } from './store-rows.ts'
import { type StoredView, storedView } from './stored-view.ts'

/** A key at which rows are not what their SELECT says. */
export interface RowDifference {
  readonly key: string
  readonly kind: 'missing' | 'surplus' | 'different'
}

interface Look {
  readonly checked: number
  readonly differences: readonly RowDifference[]
  /** Keys of which this look could not tell. */
  readonly unsure: readonly string[]
}

const rangeSize = 1000
const roundsMax = 100

/**
 * Compares a version in another store with its SELECT: every key, some, or a random sample. No snapshot covers both, so each key is looked at in the
 * store, then in the database, and then in the store again: when its row there did not move and no mark waited, all that the SELECT showed was
 * written before, and a difference is drift. Of other keys it looks again.
 */
export async function verifyStored(
  runtime: ViewRuntime,
  version: ViewVersion,
  options: { readonly sample?: number; readonly keys?: readonly string[] },
): Promise<{ keysChecked: number; differences: readonly RowDifference[] }> {
  const view = storedView(runtime, version)
  if (!view) throw unknownStoreError(version.name, version.store, false)
  const differences: RowDifference[] = []
  let unsure: string[] = []
  let keysChecked = 0
  for await (const keys of someKeys(runtime, view, options)) {
    const seen = await look(runtime, view, keys)
    keysChecked += seen.checked
    differences.push(...seen.differences)
    unsure.push(...seen.unsure)
  }
  for (let round = 0; unsure.length > 0 && round < roundsMax; round++) {
    const rest = await notParked(runtime, version, unsure)
    if (rest.length === 0) break
    await runtime.clock.sleep(Math.min(500, 10 * 2 ** round))
    unsure = []
    for (let i = 0; i < rest.length; i += rangeSize) {
      const seen = await look(runtime, view, rest.slice(i, i + rangeSize))
      differences.push(...seen.differences)
      unsure.push(...seen.unsure)
    }
  }
  return { keysChecked, differences }
}

async function* someKeys(
  { database, schema }: ViewRuntime,
  view: StoredView,
  { sample, keys }: { readonly sample?: number; readonly keys?: readonly string[] },
): AsyncIterable<readonly string[]> {
  const s = quote(schema)
  const { id } = view.version
  const texts = async (sql: string, values: readonly unknown[]) => (await database.query<{ k: string }>(sql, values)).rows.map(({ k }) => k)
  if (keys !== undefined) yield* chunks(keys)
  else if (sample !== undefined) {
    yield* chunks(await texts(`select k from ${s}.keys_${id}(null, null) k order by random() limit $1`, [sample]))
    if (sample >= rangeSize) yield (await storedKeys(view, '')).keys
  } else {
    const bounds = [null, ...(await texts(`select k from ${s}.bounds_${id}($1) k`, [rangeSize])), null]
    for (let i = 0; i + 1 < bounds.length; i++) yield await texts(`select k from ${s}.keys_${id}($1, $2) k`, [bounds[i], bounds[i + 1]])
    // What the SELECT does not have any more only the store can tell.
    for (let from: string | undefined = ''; from !== undefined; ) {
      const page: { keys: readonly string[]; next: string | undefined } = await storedKeys(view, from)
      yield await withoutRow(database, s, id, page.keys)
      from = page.next
    }
  }
}

async function storedKeys({ store, model }: StoredView, from: string): Promise<{ keys: readonly string[]; next: string | undefined }> {
  const { rows } = await store.range(model, { index: undefined, from, to: afterKeys, reverse: false, limit: rangeSize })
  const keys = rows.map(({ key }) => key)
  return { keys, next: rows.length === rangeSize ? `${keys.at(-1)}\u0001` : undefined }
}

async function withoutRow(database: ViewRuntime['database'], s: string, id: number, keys: readonly string[]): Promise<readonly string[]> {
  if (keys.length === 0) return []
  const { rows } = await database.query<{ k: string }>(
    `select "headwater key" as k from ${s}.rows_many_${id}($1, false) where not "headwater found"`,
    [keys],
  )
  return rows.map(({ k }) => k)
}

function* chunks(keys: readonly string[]): Iterable<readonly string[]> {
  for (let i = 0; i < keys.length; i += rangeSize) yield keys.slice(i, i + rangeSize)
}

async function look(runtime: ViewRuntime, view: StoredView, keys: readonly string[]): Promise<Look> {
  const { store, model } = view
  if (keys.length === 0) return { checked: 0, differences: [], unsure: [] }
  const before = new Map((await store.load(model, keys)).rows.map((row) => [row.key, row]))
  const { rows, failed } = await selectRows(runtime, view, keys, true)
  const different = rows.filter(({ key, row }) => !same(before.get(key)?.row, row))
  const after = new Map(
    (
      await store.load(
        model,
        different.map(({ key }) => key),
      )
    ).rows.map((row) => [row.key, row.position]),
  )
  const differences: RowDifference[] = []
  const unsure = failed.map(({ key }) => key)
  for (const { key, row, waiting } of different) {
    const stored = before.get(key)
    if (waiting || (stored?.position ?? 0) !== (after.get(key) ?? 0)) unsure.push(key)
    else differences.push({ key, kind: row === undefined ? 'surplus' : stored?.row === undefined ? 'missing' : 'different' })
  }
  return { checked: keys.length, differences, unsure }
}

function same(stored: string | undefined, row: MadeRow | undefined): boolean {
  if (stored === undefined || row === undefined) return stored === undefined && row === undefined
  return stored === row.json || canonicalJson(JSON.parse(stored)) === canonicalJson(JSON.parse(row.json))
}

/** Parked keys stay unsure, and are not drift. */
async function notParked({ database, schema }: ViewRuntime, version: ViewVersion, keys: readonly string[]): Promise<readonly string[]> {
  const { rows } = await database.query<{ key: string }>(
    `select key from ${quote(schema)}.parked where view = $1 and key = any ($2::text[])`,
    [version.id, keys],
  )
  const parked = new Set(rows.map(({ key }) => key))
  return keys.filter((key) => !parked.has(key))
}
