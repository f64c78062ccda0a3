import { indexText } from '../read-model/order-text.ts'
import type { Store, StoredModel } from '../read-model/store.ts'
import type { MaterializedView } from './materialized-view.ts'
import type { ViewRuntime, ViewVersion } from './registry.ts'
import { sortValue } from './sort-value.ts'

/** A version of a view whose rows are in another store. */
export interface StoredView {
  readonly version: ViewVersion
  readonly store: Store
  readonly model: StoredModel
}

/** The name of the index by which a store orders rows like the primary key of a table does. */
export const keyIndex = 'primary key'

/** The stores of the views among some definitions, by the view's name. */
export function viewStores(definitions: Readonly<Record<string, unknown>>): ReadonlyMap<string, Store> {
  const stores = new Map<string, Store>()
  for (const definition of Object.values(definitions)) {
    if (!isView(definition)) continue
    const { store } = definition['~view']
    if (store) stores.set(definition.readModelName, store)
  }
  return stores
}

function isView(definition: unknown): definition is MaterializedView {
  return typeof definition === 'object' && definition !== null && '~view' in definition
}

/** Undefined: the version's rows are in a table, or in a store that this process does not know. */
export function storedView(runtime: Pick<ViewRuntime, 'schema' | 'stores'>, version: ViewVersion): StoredView | undefined {
  const store = version.store === null ? undefined : storeOf(runtime, version)
  return store && { version, store, model: storedModel(runtime.schema, version) }
}

/** A version that stays behind when its view moves to another store may share one with another view. */
function storeOf({ stores }: Pick<ViewRuntime, 'stores'>, { name, store }: ViewVersion): Store | undefined {
  const own = stores?.get(name)
  return own?.description === store ? own : [...(stores?.values() ?? [])].find(({ description }) => description === store)
}

const models = new WeakMap<ViewVersion, StoredModel>()

/** The same object each time, since stores remember what they made of it. */
function storedModel(schema: string, version: ViewVersion): StoredModel {
  const known = models.get(version)
  if (known?.owner === schema) return known
  const made = modelOf(schema, version)
  models.set(version, made)
  return made
}

/** The key's columns end each index, so that rows have one order, and the same as in a table. */
function modelOf(schema: string, { name, version, shape: { key, indexes } }: ViewVersion): StoredModel {
  const total = (fields: readonly string[]) => [...fields, ...key.filter((column) => !fields.includes(column))]
  const declared = Object.entries(indexes).map(([index, fields]) => ({ name: index, fields: total(fields) }))
  return { owner: schema, name, version, indexes: [{ name: keyIndex, fields: key }, ...declared] }
}

/** The texts of a row in the indexes of its version. */
export function indexTexts({ version, model }: StoredView, row: Readonly<Record<string, unknown>>, key: string): readonly string[] {
  const sortable: Record<string, unknown> = {}
  for (const { name, type } of version.shape.columns) sortable[name] = sortValue(type, row[name])
  return model.indexes.map(({ fields }) => indexText(fields, sortable, key))
}

/** The id of a batch: whose it is, and whether rows serve once it is written. It stands in the store with the rows. */
export function batchId(seed: string, serves: boolean, unique: string): string {
  return `${seed}.${serves ? 'serving' : 'filling'}.${unique}`
}

export function isFilling(id: string | null): boolean {
  return id?.split('.')[1] === 'filling'
}

/** Whether a batch is of the version that has this seed. */
export function isOwn(id: string | null, seed: string): boolean {
  return id?.split('.')[0] === seed
}
