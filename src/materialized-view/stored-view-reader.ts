import type { SqlClient } from '../database/database.ts'
import { quote, tableOf } from '../database/identifier.ts'
import { UsageError } from '../errors.ts'
import { documentReader, nativeIn } from '../read-model/document-reader.ts'
import type { FindRequest } from '../read-model/find.ts'
import type { FindOptions, Reader } from '../read-model/read-model.ts'
import type { Seen, Store } from '../read-model/store.ts'
import { columnValue } from './column-value.ts'
import { sortValue } from './sort-value.ts'
import { storedKey } from './stored-key.ts'
import { isFilling, type StoredView } from './stored-view.ts'

/**
 * The reader of a version whose rows are in another store. Keys and values are taken as a table takes them, and rows come in the same order. While
 * the store is being filled it answers `building`. `strict`: a parked key is an error, and what is read holds every batch that the snapshot of
 * `client` knows to be written, even if the store went back meanwhile.
 * @throws {NotReadyError} `building`: its rows are not there yet, or not any more
 */
export function storedViewReader<Row, Key>(
  view: StoredView,
  client: SqlClient,
  { schema, check }: { readonly schema: string; readonly check: 'none' | 'strict' },
): Reader<Row, Key> {
  const { version } = view
  const serving = { ...view, store: servingStore(view.store) }
  let reached: Promise<number | undefined> | undefined
  const reader = async (): Promise<Reader<Row, string>> => {
    reached ??= check === 'strict' ? reachedBy(client, schema, version.id) : Promise.resolve(undefined)
    const atLeast = await reached
    return documentReader(serving.store, serving.model, { check, ...(atLeast === undefined ? {} : { atLeast }) })
  }
  return {
    ...tableOf(() => {
      throw new UsageError(`${version.name} is in ${version.store}, where sql cannot read it; use get, getMany, find or its native client`)
    }),
    get: async (key) => await (await reader()).get(storedKey(version, key)),
    getMany: async (keys) => {
      if (!Array.isArray(keys)) throw new UsageError(`${version.name}.getMany takes an array of keys`)
      const texts = keys.map((key) => storedKey(version, key))
      return await (await reader()).getMany(texts)
    },
    find: async (request) => await (await reader()).find(translated(view, (request ?? {}) as FindRequest) as FindOptions<Row, never>),
    ...nativeIn(view.store, view.model),
  }
}

/** The batch that the snapshot of a client knows to be written. */
async function reachedBy(client: SqlClient, schema: string, view: number): Promise<number | undefined> {
  const { rows } = await client.query<{ reached: number }>(`select reached from ${quote(schema)}.view_store where view = $1`, [view], {
    prepare: true,
  })
  return rows[0]?.reached
}

/** Rows that are being written anew are as good as none. */
function servingStore(store: Store): Store {
  const serving = <T>(seen: Seen<T>): Seen<T> => (isFilling(seen.checkpoint?.eventId ?? null) ? { ...seen, checkpoint: null } : seen)
  return {
    description: store.description,
    load: async (model, keys) => serving(await store.load(model, keys)),
    range: async (model, request) => serving(await store.range(model, request)),
    apply: (model, batch) => store.apply(model, batch),
    drop: (model) => store.drop(model),
  }
}

/** Values as rows are indexed by them; and the order of the key, where none is asked for. */
function translated({ version: { shape } }: StoredView, request: FindRequest): FindRequest {
  const { where = {}, orderBy = {} } = request
  const types = new Map(shape.columns.map(({ name, type }) => [name, type]))
  const value = (column: string, given: unknown) => {
    const type = types.get(column)
    return type === undefined ? given : sortValue(type, columnValue(type, given))
  }
  const condition = (column: string, given: unknown) =>
    isRange(given)
      ? Object.fromEntries(Object.entries(given).map(([operator, bound]) => [operator, value(column, bound)]))
      : value(column, given)
  const isPlain = Object.keys(where).length === 0 && Object.keys(orderBy).length === 0
  return {
    ...request,
    where: Object.fromEntries(Object.entries(where).map(([column, given]) => [column, condition(column, given)])),
    orderBy: isPlain ? Object.fromEntries(shape.key.map((column) => [column, 'asc'])) : orderBy,
  }
}

function isRange(condition: unknown): condition is Readonly<Record<string, unknown>> {
  if (typeof condition !== 'object' || condition === null) return false
  const prototype: unknown = Object.getPrototypeOf(condition)
  return prototype === Object.prototype || prototype === null
}
