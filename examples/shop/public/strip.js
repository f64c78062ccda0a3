import { status } from './api.js'
import { storeOf } from './arrival.js'
import { h } from './dom.js'
import { every } from './every.js'
import { bytes, count, milliseconds } from './format.js'

/** The strip at the bottom: where each read model is, and how it is, once a second while one looks. */
export function startStrip() {
  const box = document.getElementById('strip')
  every(1000, async () => {
    try {
      const readModels = await status()
      const cells = await Promise.all(readModels.map(async (model) => cell(model, await storeOf(model.name))))
      box.classList.remove('lost')
      box.replaceChildren(h('ul', {}, cells))
    } catch {
      box.classList.add('lost')
      if (!box.firstChild) box.append(h('p', {}, 'The server does not answer.'))
    }
  })
}

function cell({ name, state, lagMs, pending, rows, bytes: size, build }, store) {
  const kind = state === 'stopped' ? 'stopped' : state !== 'live' || pending > 0 ? 'moving' : 'level'
  const progress = build && build.keysTotal > 0 ? ` ${Math.floor((100 * build.keysDone) / build.keysTotal)} %` : ''
  return h(
    'li',
    { 'data-model': name, class: kind },
    h('p', {}, h('strong', {}, name), h('span', { class: 'lag' }, state === 'live' ? `${milliseconds(lagMs)} lag` : `${state}${progress}`)),
    h(
      'p',
      { class: 'where' },
      h('span', { class: 'store' }, store),
      h('span', {}, `${count(rows)} rows`),
      h('span', { class: 'size' }, bytes(size)),
    ),
  )
}
