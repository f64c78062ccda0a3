import { query } from './api.js'
import { h } from './dom.js'
import { milliseconds } from './format.js'

/** A query for each read model that reads it alone: with the token of a write it answers when that read model has it. */
const readers = { catalogue: 'catalogueEntry', product_cards: 'productCard', stock_levels: 'stockLevel' }
let places

/** In which store each read model is. */
export async function storeOf(readModel) {
  places ??= query('stores').then(({ items }) => new Map(items.map((place) => [place.readModel, place.store])))
  const found = await places.catch(() => {
    places = undefined
    return new Map()
  })
  return found.get(readModel) ?? ''
}

/** Shows for a write that was just answered when each read model has it, in which store. */
export async function watchArrival(box, { productId, what, readModels }) {
  const beganAt = performance.now()
  const lines = new Map(readModels.map((name) => [name, h('dd', {}, 'on its way')]))
  const list = h('dl', {})
  box.replaceChildren(h('p', { class: 'arrival-what' }, what), list)
  for (const name of readModels)
    list.append(h('div', { 'data-model': name }, h('dt', {}, `${name} · ${await storeOf(name)}`), lines.get(name)))
  await Promise.all(
    readModels.map(async (name) => {
      const line = lines.get(name)
      try {
        await query(readers[name], { productId })
        line.textContent = `has it, after ${milliseconds(performance.now() - beganAt)}`
        line.parentElement.classList.add('there')
      } catch (error) {
        line.textContent = error.code === 'behind' ? 'does not have it yet' : error.message
      }
    }),
  )
}
