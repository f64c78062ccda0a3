import { query } from './api.js'

let places
/** What was last heard of each read model. */
let known = new Map()

/** In which store each read model is. */
export async function storeOf(readModel) {
  places ??= query('stores').then(({ items }) => new Map(items.map((place) => [place.readModel, place.store])))
  const found = await places.catch(() => {
    places = undefined
    return new Map()
  })
  return found.get(readModel) ?? ''
}

/** Keeps what the status said, for those who ask before they try. */
export function noteStatus(readModels) {
  known = new Map(readModels.map((model) => [model.name, model]))
}

/** Whether the store of a read model is known not to answer. */
export function isDown(readModel) {
  return known.get(readModel)?.available === false
}

/** The first of some read models whose store does not answer, or the first. */
export function troubled(readModels) {
  return readModels.find(isDown) ?? readModels[0]
}
