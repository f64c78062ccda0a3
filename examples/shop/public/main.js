import { adminView } from './admin-view.js'
import { browseView } from './browse-view.js'
import { cartCount, onCartChange } from './cart.js'
import { cartView } from './cart-view.js'
import { emptyState, h } from './dom.js'
import { ordersView } from './orders-view.js'
import { productView } from './product-view.js'
import { startStrip } from './strip.js'

const main = document.getElementById('main')
const find = document.getElementById('find')
let turn = 0

async function show({ moveFocus }) {
  const mine = ++turn
  const [path, search = ''] = location.hash.slice(1).split('?')
  const asked = new URLSearchParams(search)
  markNavigation(path || '/')
  if (path === '' || path === '/') find.elements.text.value = asked.get('text') ?? ''
  main.setAttribute('aria-busy', 'true')
  const page = await pageOf(path, asked, mine)
  if (mine !== turn) return
  document.title = `${page.title} · Quay`
  main.replaceChildren(page.node)
  main.setAttribute('aria-busy', 'false')
  if (!moveFocus) return
  scrollTo(0, 0)
  main.querySelector('h1')?.focus({ preventScroll: true })
}

async function pageOf(path, search, mine) {
  try {
    const productId = /^\/product\/([0-9a-f-]{36})$/.exec(path)?.[1]
    if (productId) return await productView(productId)
    if (path === '/cart') return await cartView()
    if (path === '/orders') return await ordersView()
    if (path === '/admin') return await adminView(search)
    return await browseView(search)
  } catch (error) {
    return failure(error, mine)
  }
}

function failure(error, mine) {
  const passing = ['building', 'behind', 'unavailable'].includes(error.code)
  if (passing) setTimeout(() => mine === turn && show({ moveFocus: false }), 1000)
  const [title, text] = passing
    ? ['One moment', 'What this page reads is being brought up to date. It will be here shortly.']
    : ['That did not work', error.message]
  const again = !passing && h('button', { class: 'button', type: 'button', onclick: () => show({ moveFocus: true }) }, 'Try again')
  return { title, node: h('div', { class: 'narrow' }, h('h1', { tabIndex: -1 }, title), emptyState('', text, again)) }
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
addEventListener('hashchange', () => show({ moveFocus: true }))
onCartChange(showCartCount)
showCartCount()
startStrip()
show({ moveFocus: false })
