import { emptyState, h } from './dom.js'
import { refreshTimes } from './format.js'
import { heading } from './heading.js'
import { startKeys } from './keys.js'
import { peopleView } from './people-view.js'
import { profileView } from './profile-view.js'
import { searchView } from './search-view.js'
import { refreshMe } from './session.js'
import { renderAside, renderSide } from './side.js'
import { startStrip } from './strip.js'
import { threadView } from './thread-view.js'
import { everyoneView, homeView } from './timeline-view.js'

const main = document.getElementById('main')
/** Ends what the page before left running. */
let leaving = new AbortController()

const routes = [
  [/^\/?$/, (_match, _search, signal) => everyoneView(signal)],
  [/^\/home$/, (_match, _search, signal) => homeView(signal)],
  [/^\/post\/([0-9a-f-]{36})$/, ([, postId]) => threadView(postId)],
  [/^\/user\/([0-9a-f-]{36})(?:\/(replies))?$/, ([, userId, tab]) => profileView(userId, tab)],
  [/^\/search$/, (_match, search) => searchView(search.get('text') ?? '')],
  [/^\/people$/, () => peopleView()],
]

async function show({ moveFocus }) {
  leaving.abort()
  leaving = new AbortController()
  const { signal } = leaving
  const [path, search = ''] = location.hash.slice(1).split('?')
  renderSide(path)
  main.setAttribute('aria-busy', 'true')
  const page = await pageOf(path, new URLSearchParams(search), signal)
  if (signal.aborted) return
  document.title = `${page.title} · Brook`
  main.replaceChildren(page.node)
  main.setAttribute('aria-busy', 'false')
  scrollTo(0, 0)
  renderAside()
  if (!moveFocus) return
  const target = page.focus ?? main.querySelector('h1')
  target?.focus({ preventScroll: target.tagName === 'H1' })
}

async function pageOf(path, search, signal) {
  const found = routes.map(([pattern, view]) => [pattern.exec(path), view]).find(([match]) => match)
  if (!found) return problemPage('Nothing here', 'There is no such page.')
  const [match, view] = found
  try {
    return await view(match, search, signal)
  } catch (error) {
    if (error.code !== 'building') return problemPage('That did not work', error.message, signal)
    setTimeout(() => signal.aborted || show({ moveFocus: false }), 1000)
    return problemPage('One moment', 'This page’s read model is being built for the first time. It will be here shortly.')
  }
}

function problemPage(title, text, signal) {
  const again = signal && h('button', { class: 'button', type: 'button', onclick: () => show({ moveFocus: true }) }, 'Try again')
  return { title, node: h('div', {}, heading(title), emptyState('', text, again)) }
}

addEventListener('hashchange', () => show({ moveFocus: true }))
addEventListener('signed-in', () => show({ moveFocus: false }))
setInterval(refreshTimes, 20_000)
startKeys()
startStrip()
show({ moveFocus: false })
refreshMe().catch(() => {})
