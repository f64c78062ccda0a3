import assert from 'node:assert/strict'
import {
  type Batch,
  type Checkpoint,
  indexText,
  type Parked,
  partitionCount,
  type RangeRequest,
  type RangeRow,
  type RowChange,
  type Store,
  type StoredModel,
  type StoredRow,
} from '../index.ts'

/** What a case of the store contract works on. What it makes is dropped afterwards. */
export interface StoreSubject {
  readonly store: Store
  /** A version of a read model that nobody else uses, with the indexes `byGroup` (group) and `bySize` (size, group). */
  readonly model: StoredModel
  /** Another one, with what is given here. */
  other(changes?: Partial<StoredModel>): StoredModel
  /** The same data, opened once more. */
  again(): Promise<Store>
}

export type StoreCheck = (subject: StoreSubject) => Promise<void>

/** Rows in these cases. */
export type Fields = Readonly<Record<string, unknown>>

/** Every partition. */
export const whole = { first: 0, last: partitionCount - 1 }

/** A key's row as `load` gives it, its JSON parsed. */
export interface Loaded extends Omit<StoredRow, 'row'> {
  readonly row: unknown
}

/** A checkpoint at a position, over an event of that position. */
export function at(position: number): Checkpoint {
  return { position, eventId: `event-${position}` }
}

/** A change of a row that stood at `was`; `fields` null deletes. */
export function change(model: StoredModel, key: string, was: number | undefined, position: number, fields: Fields | null): RowChange {
  const index = fields === null ? [] : model.indexes.map((declared) => indexText(declared.fields, fields, key))
  return { key, was, position, version: null, row: fields === null ? null : JSON.stringify(fields), index }
}

/** A batch over all partitions that begins at one position (null: where nothing is yet) and ends at another. */
export function batch(from: number | null, to: number, rows: readonly RowChange[], more: Partial<Batch> = {}): Batch {
  return { partitions: whole, from: from === null ? null : at(from), to: at(to), rows, park: [], unpark: [], ...more }
}

/** Applies a batch that must count. */
export async function applied(store: Store, model: StoredModel, done: Batch): Promise<void> {
  assert.equal(await store.apply(model, done), 'applied')
}

/** The rows of some keys by key. */
export async function loaded(store: Store, model: StoredModel, keys: readonly string[]): Promise<ReadonlyMap<string, Loaded>> {
  const { rows } = await store.load(model, keys)
  const byKey = new Map(
    rows.map((stored) => [stored.key, { ...stored, row: stored.row === undefined ? undefined : JSON.parse(stored.row) }]),
  )
  assert.equal(byKey.size, rows.length, 'a key is there twice')
  return byKey
}

/** What each key holds: its row, or undefined. */
export async function rowsOf(store: Store, model: StoredModel, keys: readonly string[]): Promise<readonly unknown[]> {
  const byKey = await loaded(store, model, keys)
  return keys.map((key) => byKey.get(key)?.row)
}

/** The position of a key's row as the next change of it must give it: 0 where nothing is. */
export async function positionOf(store: Store, model: StoredModel, key: string): Promise<number> {
  return (await loaded(store, model, [key])).get(key)?.position ?? 0
}

export async function checkpointOf(store: Store, model: StoredModel): Promise<Checkpoint | null> {
  const { checkpoint } = await store.load(model, [])
  return checkpoint && { position: checkpoint.position, eventId: checkpoint.eventId }
}

/** Greater than every key and every index text in these cases. */
export const end = '\u{10ffff}'

/** All rows in the order of an index, or a part of them. */
export async function listed(store: Store, model: StoredModel, request: Partial<RangeRequest> = {}): Promise<readonly RangeRow[]> {
  const seen = await store.range(model, { index: undefined, from: '', to: end, reverse: false, limit: 10_000, ...request })
  return seen.rows
}

export async function keysInOrder(store: Store, model: StoredModel, request: Partial<RangeRequest> = {}): Promise<readonly string[]> {
  return (await listed(store, model, request)).map(({ key }) => key)
}

export function parkedAt(key: string, position: number, reason = 'it failed'): Parked & { readonly key: string } {
  return { key, position, eventId: `event-${position}`, reason }
}
