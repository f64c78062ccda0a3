import type { Collection, FindOptions } from 'mongodb'
import type { RowDocument } from './document.ts'

/** The documents of some keys. */
export type ByKeys = (rows: Collection<RowDocument>, keys: readonly string[], options?: FindOptions) => Promise<readonly RowDocument[]>

const keysMax = 1_000

export const byKeys: ByKeys = async (rows, keys, options = {}) => {
  const found: RowDocument[] = []
  for (let i = 0; i < keys.length; i += keysMax) {
    found.push(...(await rows.find({ _id: { $in: keys.slice(i, i + keysMax) } }, options).toArray()))
  }
  return found
}

/** FerretDB decodes every document to find a list of keys, but leaves one key to its own database; so a few are asked for one by one. */
export const fewByKeys: ByKeys = async (rows, keys, options = {}) => {
  if (keys.length > singlesMax) return byKeys(rows, keys, options)
  const found = await Promise.all(keys.map((_id) => rows.findOne({ _id }, options)))
  return found.filter((document) => document !== null)
}

const singlesMax = 100
