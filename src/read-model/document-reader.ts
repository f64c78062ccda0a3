import { quote, tableOf } from '../database/identifier.ts'
import { BehindError, NotReadyError, ParkedError, UsageError } from '../errors.ts'
import { documentCursor, documentRange } from './document-find.ts'
import type { FindRequest } from './find.ts'
import { keyText } from './key-text.ts'
import type { Page, Reader } from './read-model.ts'
import type { Checkpoint, Seen, Store, StoredModel, StoredRow } from './store.ts'

export interface DocumentReaderOptions {
  /** `strict`: a parked key is an error, since no row that is surely new enough exists for it. */
  readonly check: 'none' | 'strict'
  /** The position that what is read must hold. */
  readonly atLeast?: number
  /** The position that the store has held before: below that it went back, and its rows do not serve. */
  readonly floor?: number
  /** The schema of the public view, where the store is the write database; else the read model does not stand in `sql`. */
  readonly schema?: string
  /** Told with each read: how far the read model was, and how many of its keys are parked. */
  readonly onSeen?: (seen: { readonly checkpoint: Checkpoint; readonly parked: number }) => void
}

/**
 * The reader of a read model in a store, the same for every store; see {@link Reader} for what it promises. Rows are JSON.
 * @throws {NotReadyError} `building`: the version is not in the store
 * @throws {BehindError} it does not hold `atLeast`
 */
export function documentReader<Row, Key>(store: Store, model: StoredModel, options: DocumentReaderOptions): Reader<Row, Key> {
  const { schema } = options
  const source: Source = { store, model, options }
  const reader = {
    get: async (key: Key) => (await getMany(source, [key]))[0] as Row | undefined,
    getMany: (keys: readonly Key[]) => getMany(source, keys) as Promise<readonly Row[]>,
    find: (request?: FindRequest) => find(source, request ?? {}) as Promise<Page<Row>>,
  }
  const table = tableOf(() => {
    if (schema !== undefined) return `${quote(schema)}.${quote(model.name)}`
    throw new UsageError(`${model.name} is in ${store.description}, where sql cannot read it; use get, getMany, find or its native client`)
  })
  // In the write database the reader itself stands for the table.
  return Object.assign(table, reader, schema === undefined ? nativeIn(store, model) : undefined) as unknown as Reader<Row, Key>
}

/** A reader's way to the store's own client, where the store has one. */
export function nativeIn(store: Store, model: StoredModel): { native?(): Promise<unknown> } {
  return store.nativeOf ? { native: async () => store.nativeOf?.(model) } : {}
}

interface Source {
  readonly store: Store
  readonly model: StoredModel
  readonly options: DocumentReaderOptions
}

async function getMany(source: Source, keys: readonly unknown[]): Promise<readonly unknown[]> {
  const { store, model, options } = source
  if (!Array.isArray(keys)) throw new UsageError(`${model.name}.getMany takes an array of keys`)
  if (keys.length === 0) return []
  const texts: string[] = keys.map((key) => textOf(model, key))
  const distinct = new Set(texts)
  const seen = await store.load(model, distinct.size === texts.length ? texts : [...distinct])
  check(source, seen)
  const rows = new Map<string, StoredRow>()
  for (const row of seen.rows) rows.set(row.key, row)
  const found: unknown[] = []
  for (const text of texts) {
    const row = rows.get(text)
    if (options.check === 'strict') refuseParked(model, row)
    if (row?.row !== undefined) found.push(JSON.parse(row.row))
  }
  return found
}

async function find(source: Source, request: FindRequest): Promise<Page<unknown>> {
  const { store, model } = source
  const range = documentRange(model, request)
  const { index, from, to, reverse, limit } = range
  const seen = await store.range(model, { index, from, to, reverse, limit: limit + 1 })
  check(source, seen)
  const last = seen.rows.length > limit ? seen.rows[limit - 1] : undefined
  return {
    items: seen.rows.slice(0, limit).map(({ row }) => JSON.parse(row) as unknown),
    next: last ? documentCursor(range, last.at) : null,
    ...(seen.parked > 0 ? { parked: seen.parked } : {}),
  }
}

function check({ model, options: { atLeast, floor = 0, onSeen } }: Source, { checkpoint, parked }: Seen<unknown>): void {
  if (!checkpoint) throw new NotReadyError('building', model.name, 'it is not in its store: it is being built')
  if (atLeast !== undefined && checkpoint.position < atLeast) throw new BehindError([model.name], 0, 1)
  if (checkpoint.position < floor) throw new NotReadyError('building', model.name, 'its store lost what it held: it is being folded again')
  onSeen?.({ checkpoint, parked })
}

function refuseParked(model: StoredModel, row: StoredRow | undefined): void {
  if (row?.parked) throw new ParkedError(model.name, row.key, `${row.parked.reason} (at position ${row.parked.position})`)
}

function textOf(model: StoredModel, key: unknown): string {
  try {
    return keyText(key)
  } catch (error) {
    throw new UsageError(`${model.name}: ${error instanceof Error ? error.message : String(error)}`, { cause: error })
  }
}
