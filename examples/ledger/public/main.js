import { accountView } from './account-view.js'
import { startBooks } from './books.js'
import { emptyState, h } from './dom.js'
import { startMargin } from './margin.js'
import { overview } from './overview.js'
import { markShelf, startShelf } from './shelf.js'
import { startStrip } from './strip.js'

const main = document.getElementById('main')
/** Ends what the page before left running. */
let leaving = new AbortController()

async function show({ moveFocus }) {
  leaving.abort()
  leaving = new AbortController()
  const { signal } = leaving
  const [path, search = ''] = location.hash.slice(1).split('?')
  const accountId = /^\/account\/([0-9a-f-]{36})$/.exec(path)?.[1]
  markShelf(accountId)
  main.setAttribute('aria-busy', 'true')
  const page = await pageOf(accountId, new URLSearchParams(search), signal)
  if (signal.aborted) return
  document.title = `${page.title} · Tally`
  main.replaceChildren(page.node)
  main.setAttribute('aria-busy', 'false')
  if (!moveFocus) return
  scrollTo(0, 0)
  main.querySelector('h1')?.focus({ preventScroll: true })
}

async function pageOf(accountId, search, signal) {
  try {
    return await (accountId ? accountView(accountId, search, signal) : overview(signal))
  } catch (error) {
    const passing = ['building', 'behind'].includes(error.code)
    if (passing) setTimeout(() => signal.aborted || show({ moveFocus: false }), 1000)
    const [title, text] = passing
      ? ['One moment', 'What this page reads is being brought up to date. It will be here shortly.']
      : ['That did not work', error.message]
    const again = !passing && h('button', { class: 'button', type: 'button', onclick: () => show({ moveFocus: true }) }, 'Try again')
    return { title, node: h('div', { class: 'sheet' }, h('h1', { tabIndex: -1 }, title), emptyState('', text, again)) }
  }
}

addEventListener('hashchange', () => show({ moveFocus: true }))
startBooks()
startShelf()
startMargin()
startStrip()
show({ moveFocus: false })
