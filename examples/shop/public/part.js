import { h } from './dom.js'
import { isDown, storeOf, troubled } from './places.js'

/** How long a page may take before it says that it takes its time. */
export const patienceMs = 400
const pauseMs = 1500
export const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms))

const passing = ['behind', 'building', 'busy', 'database_unavailable', 'outcome_unknown', 'parked', 'stopped', 'unavailable', 'unreachable']
/** Whether it may be over by itself: it is worth trying again. */
export const isPassing = ({ code }) => passing.includes(code)

/**
 * A part of a page that is read by itself, so that one store which does not answer leaves the others' parts as they are. Shows what `draw` makes of what
 * `load` finds; until then it says what it waits for, names the store, and tries again, until `signal` ends it. `waits` is what the reader misses, such
 * as "searching waits", under `heading` if that is given. `load` may find something `partial`: that is shown, and the whole is tried again.
 */
export function part({ readModels, waits, heading, load, draw, signal }) {
  const node = h('div', { class: 'part' })
  let tellShown
  const shown = new Promise((resolve) => {
    tellShown = resolve
  })
  let isThere = false
  const put = (...children) => {
    if (signal?.aborted) return
    const hadFocus = node.contains(document.activeElement)
    node.replaceChildren(...children.flat().filter(Boolean))
    if (hadFocus) node.querySelector('h1')?.focus({ preventScroll: true })
  }
  const say = async (error) => {
    const text = await reason(error, readModels, waits)
    if (isThere || node.querySelector('.notice')?.textContent === text) return
    put(heading && h('h1', { tabIndex: -1 }, heading), h('p', { class: 'notice', role: 'status' }, text))
  }
  const run = async () => {
    const soon = setTimeout(() => say(isDown(troubled(readModels)) ? { code: 'database_unavailable' } : { code: 'slow' }), patienceMs)
    for (let isOver = false; !isOver && !signal?.aborted; ) {
      try {
        const found = await load()
        clearTimeout(soon)
        isThere = true
        put(draw(found))
        isOver = !found?.partial
      } catch (error) {
        clearTimeout(soon)
        isThere = false
        isOver = !isPassing(error)
        if (isOver) put(failed(error, run))
        else await say(error)
      }
      tellShown()
      if (!isOver) await pause(pauseMs)
    }
  }
  run()
  return { node, shown }
}

function failed(error, again) {
  return h(
    'div',
    { class: 'state' },
    h('p', { class: 'state-title' }, 'That did not work'),
    h('p', {}, error.message),
    h('button', { class: 'button', type: 'button', onclick: again }, 'Try again'),
  )
}

/** What a person is told while a part is not there. */
export async function reason({ code, message }, readModels, waits) {
  if (code === 'slow') return 'One moment.'
  if (code === 'unreachable' || code === 'unavailable') return message
  const store = (await storeOf(troubled(readModels))) || 'A store'
  // One's own write is waited for, whether or not the store that lacks it is up.
  const isAway = code === 'database_unavailable' || (code === 'behind' && readModels.some(isDown))
  if (isAway) return `${store} does not answer: ${waits}. Everything else goes on.`
  if (code === 'building') return `${store} is being filled: ${waits}. It will be here shortly.`
  if (code === 'stopped') return `What ${store} holds for this has stopped and needs a person: ${waits}.`
  return 'What this reads is being brought up to date. It will be here shortly.'
}
