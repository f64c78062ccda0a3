import { status } from './api.js'
import { h } from './dom.js'
import { every } from './every.js'
import { bytes, count, milliseconds } from './format.js'
import { noteStatus, storeOf } from './places.js'

/** The strip at the bottom: where each read model is, and how it is, once a second while one looks. */
export function startStrip() {
  const box = document.getElementById('strip')
  every(1000, async () => {
    try {
      const readModels = await status()
      noteStatus(readModels)
      const cells = await Promise.all(readModels.map(async (model) => cell(model, await storeOf(model.name))))
      box.classList.remove('lost')
      box.replaceChildren(h('ul', {}, cells))
    } catch (error) {
      box.classList.add('lost')
      const text =
        error.code === 'database_unavailable'
          ? 'PostgreSQL does not answer: nothing can be changed. Other stores answer what needs nothing newer.'
          : 'The server does not answer.'
      box.querySelector('.strip-note')?.remove()
      box.prepend(h('p', { class: 'strip-note' }, text))
    }
  })
}

function cell(model, store) {
  const { name, state, rows, bytes: size } = model
  const [kind, text] = condition(model)
  // Nothing was ever seen of it: that is not the same as nothing being there.
  const isUnseen = kind === 'down' && size === 0
  return h(
    'li',
    { 'data-model': name, class: kind, title: `${name}, in ${store}: ${state}` },
    h('strong', {}, name),
    h('span', { class: 'lag' }, text),
    h('span', { class: 'store' }, store),
    !isUnseen && h('span', { class: 'rows' }, `${count(rows)} rows`),
    !isUnseen && h('span', { class: 'size' }, bytes(size)),
  )
}

/** How a read model is, as a class and in words. */
function condition({ state, available, lagMs, pending, build, trouble }) {
  if (state === 'stopped') return ['stopped', 'stopped']
  if (available === false) return ['down', 'does not answer']
  const progress = build && build.keysTotal > 0 ? ` ${Math.floor((100 * build.keysDone) / build.keysTotal)} %` : ''
  if (state !== 'live') return ['moving', `${state}${progress}`]
  return [pending > 0 || trouble ? 'moving' : 'level', `${milliseconds(lagMs)} lag`]
}
