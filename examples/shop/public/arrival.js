import { query } from './api.js'
import { h } from './dom.js'
import { milliseconds } from './format.js'
import { isPassing, patienceMs, pause } from './part.js'
import { isDown, storeOf } from './places.js'

/** A query for each read model that reads it alone: with the token of a write it answers when that read model has it. */
const readers = { catalogue: 'catalogueEntry', product_cards: 'productCard', stock_levels: 'stockLevel' }

/** Shows for a write that was just answered when each read model has it, in which store; for as long as it takes, or until the box shows another one. */
export async function watchArrival(box, { productId, what, readModels }) {
  const beganAt = performance.now()
  const lines = new Map(readModels.map((name) => [name, h('dd', {}, 'on its way')]))
  const list = h('dl', {})
  box.replaceChildren(h('p', { class: 'arrival-what' }, what), list)
  const stores = new Map(await Promise.all(readModels.map(async (name) => [name, await storeOf(name)])))
  for (const name of readModels)
    list.append(h('div', { 'data-model': name }, h('dt', {}, `${name} · ${stores.get(name) || 'its store'}`), lines.get(name)))
  await Promise.all(
    readModels.map((name) => watchLine({ name, line: lines.get(name), store: stores.get(name) || 'Its store', productId, beganAt, list })),
  )
}

async function watchLine({ name, line, store, productId, beganAt, list }) {
  const say = (text, kind) => {
    line.textContent = text
    line.parentElement.className = kind
  }
  const down = () => say(`${store} does not answer; it gets this when it is back`, 'down')
  const soon = setTimeout(() => isDown(name) && down(), patienceMs)
  while (list.isConnected) {
    try {
      await query(readers[name], { productId })
      clearTimeout(soon)
      return say(`has it, after ${milliseconds(performance.now() - beganAt)}`, 'there')
    } catch (error) {
      clearTimeout(soon)
      // A write that a store lacks is waited for, whether or not the store is up.
      if (error.code === 'database_unavailable' || (error.code === 'behind' && isDown(name))) down()
      else say(error.code === 'behind' ? 'does not have it yet' : error.message, '')
      if (!isPassing(error)) return
      await pause(1000)
    }
  }
}
