import { adminView } from './admin-view.js'
import { browseView } from './browse-view.js'
import { cartCount, onCartChange } from './cart.js'
import { cartView } from './cart-view.js'
import { ordersView } from './orders-view.js'
import { patienceMs, pause } from './part.js'
import { productView } from './product-view.js'
import { startStrip } from './strip.js'

const main = document.getElementById('main')
const find = document.getElementById('find')
/** What has the focus after the next change of pages, where that is not its heading. */
let focusNext

let leaving = new AbortController()

async function show({ moveFocus }) {
  leaving.abort()
  leaving = new AbortController()
  const { signal } = leaving
  const [path, search = ''] = location.hash.slice(1).split('?')
  const asked = new URLSearchParams(search)
  markNavigation(path || '/')
  find.elements.text.value = path === '' || path === '/' ? (asked.get('text') ?? '') : ''
  main.setAttribute('aria-busy', 'true')
  const page = pageOf(path, asked, signal)
  // What comes soon replaces the old page as a whole; what takes longer says so in its place.
  await Promise.race([page.shown, pause(patienceMs)])
  if (signal.aborted) return
  const tell = () => {
    if (!signal.aborted) document.title = `${page.title} · Quay`
  }
  page.onTitle = tell
  tell()
  main.replaceChildren(page.node)
  page.shown.then(() => signal.aborted || main.setAttribute('aria-busy', 'false'))
  if (!moveFocus) return
  scrollTo(0, 0)
  const target = main.querySelector(focusNext ?? 'h1') ?? main.querySelector('h1')
  focusNext = undefined
  target?.focus({ preventScroll: true })
}

function pageOf(path, search, signal) {
  const productId = /^\/product\/([0-9a-f-]{36})$/.exec(path)?.[1]
  if (productId) return productView(productId, signal)
  if (path === '/cart') return cartView(signal)
  if (path === '/orders') return ordersView(signal)
  if (path === '/admin') return adminView(search, signal)
  return browseView(search, signal)
}

function markNavigation(path) {
  for (const link of document.querySelectorAll('#pages a')) {
    if (link.getAttribute('href') === `#${path}`) link.setAttribute('aria-current', 'page')
    else link.removeAttribute('aria-current')
  }
}

function showCartCount() {
  const number = cartCount()
  document.getElementById('cart-count').textContent = number > 0 ? String(number) : ''
}

find.addEventListener('submit', (event) => {
  event.preventDefault()
  location.assign(`#/?text=${encodeURIComponent(find.elements.text.value.trim())}`)
})
main.addEventListener('change', (event) => {
  if (event.target.id === 'sort') focusNext = '#sort'
})
addEventListener('hashchange', () => show({ moveFocus: true }))
onCartChange(showCartCount)
showCartCount()
startStrip()
show({ moveFocus: false })
