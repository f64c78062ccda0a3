import { status } from './api.js'
import { h } from './dom.js'
import { bytes, count, milliseconds } from './format.js'

let open = false

/** The strip at the bottom: how each read model is, once a second while one looks. */
export function startStrip() {
  const box = document.getElementById('strip')
  const look = async () => {
    if (document.hidden) return
    try {
      show(box, await status())
    } catch {
      box.dataset.state = 'lost'
      if (!box.firstChild) box.append(h('p', { class: 'strip-lost' }, 'The server does not answer.'))
    }
  }
  const loop = async () => {
    await look()
    setTimeout(loop, 1000)
  }
  loop()
  document.addEventListener('visibilitychange', look)
}

function show(box, readModels) {
  const models = readModels.toSorted((a, b) => b.mode.localeCompare(a.mode) || a.name.localeCompare(b.name))
  const focused = box.contains(document.activeElement)
  const toggle = () => {
    open = !open
    show(box, readModels)
  }
  box.dataset.state = 'there'
  box.classList.toggle('open', open)
  box.replaceChildren(
    h(
      'button',
      { class: 'strip-toggle', type: 'button', 'aria-expanded': String(open), onclick: toggle },
      models.map(dot),
      h('span', {}, `${models.length} read models, ${summaryOf(models)}`),
    ),
    h('ul', { class: 'strip-list' }, models.map(cell)),
  )
  if (focused) box.querySelector('.strip-toggle').focus()
}

function summaryOf(models) {
  const unready = models.find(({ state }) => state !== 'live')
  if (unready) return `${unready.name} ${progressOf(unready)}`
  return `at most ${milliseconds(Math.max(0, ...models.map(({ lagMs }) => lagMs)))} behind`
}

function cell(model) {
  const sourceBytes = (model.sources ?? []).reduce((sum, source) => sum + source.bytes, 0)
  const tables = (model.sources ?? []).map(({ table, rows, bytes: size }) => `${shortName(table)}: ${count(rows)} rows, ${bytes(size)}`)
  return h(
    'li',
    { class: 'model', 'data-model': model.name },
    h(
      'p',
      { class: 'model-line' },
      dot(model),
      h('strong', {}, model.name),
      h('span', { class: 'mode' }, model.mode),
      h('span', { class: 'lag', title: 'how far it may be behind the writes' }, progressOf(model) ?? `${milliseconds(model.lagMs)} lag`),
    ),
    h(
      'p',
      { class: 'model-detail' },
      h('span', { title: 'changes that wait' }, `${count(model.pending)} pending`),
      h('span', {}, `${count(model.rows)} rows`),
      h('span', {}, bytes(model.bytes)),
      h('span', { title: tables.join('\n') }, `sources ${bytes(sourceBytes)}`),
    ),
  )
}

function dot({ state, pending }) {
  const kind = state === 'stopped' ? 'stopped' : state !== 'live' || pending > 0 ? 'moving' : ''
  return h('span', { class: `dot ${kind}`, 'aria-hidden': 'true' })
}

/** A table's name without its schema. */
function shortName(table) {
  return table.split('.').at(-1).replaceAll('"', '')
}

function progressOf({ state, build }) {
  if (state === 'live') return undefined
  if (!build || build.keysTotal === 0) return state
  return `${state} ${Math.floor((100 * build.keysDone) / build.keysTotal)} %`
}
