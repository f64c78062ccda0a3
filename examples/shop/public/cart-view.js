import { execute, query } from './api.js'
import { artOf } from './art.js'
import { cartLines, customerId, emptyCart, orderIdFor, setQuantity } from './cart.js'
import { emptyState, explain, h, toast } from './dom.js'
import { money } from './format.js'
import { part } from './part.js'

/** The cart, at today's prices, and the way to order what is in it. */
export function cartView(signal) {
  const box = h('div', {})
  /** `left` says of products how many there were when an order was refused. */
  const show = (left = new Map()) => {
    const lines = cartLines()
    if (lines.length === 0) {
      box.replaceChildren(emptyState('Your cart is empty', undefined, h('a', { class: 'button', href: '#/' }, 'Look around')))
      return Promise.resolve()
    }
    const filled = part({
      readModels: ['product_cards', 'stock_levels'],
      waits: 'names and prices wait, and what is in your cart is kept',
      signal,
      load: () => query('products', { productIds: lines.map(({ productId }) => productId) }),
      draw: ({ items }) => contents(lines, new Map(items.map((product) => [product.productId, product])), left, show),
    })
    // What is shown stays until the new is there.
    if (!box.firstChild) box.replaceChildren(filled.node)
    return filled.shown.then(() => box.replaceChildren(filled.node))
  }
  const node = h('div', { class: 'narrow' }, h('h1', { tabIndex: -1 }, 'Cart'), box)
  return { title: 'Cart', node, shown: show() }
}

function contents(lines, products, left, show) {
  const known = lines.filter(({ productId }) => products.has(productId))
  const total = known.reduce((sum, { productId, quantity }) => sum + quantity * products.get(productId).price, 0)
  const change = async (productId, quantity) => {
    setQuantity(productId, quantity)
    const fewer = new Map(left)
    fewer.delete(productId)
    await show(fewer)
  }
  const rows = lines.map((line) => cartLine(line, products.get(line.productId), left.get(line.productId), change))
  const order = h('button', { class: 'button primary', type: 'button', disabled: known.length === 0 }, 'Order now')
  order.addEventListener('click', async () => {
    order.disabled = true
    await placeOrder(known, show)
    order.disabled = false
  })
  return [
    h('ul', { class: 'cart' }, rows),
    h('div', { class: 'checkout' }, h('p', { class: 'total' }, 'Total ', h('strong', {}, money(total))), order),
  ]
}

function cartLine({ productId, quantity }, product, left, change) {
  if (!product) {
    const remove = h('button', { class: 'button', type: 'button', onclick: () => change(productId, 0) }, 'Remove')
    return h('li', {}, h('p', { class: 'cart-name' }, 'Not sold here any more'), remove)
  }
  const field = h('input', {
    type: 'number',
    min: 0,
    max: 1000,
    value: quantity,
    'aria-label': `Quantity of ${product.name}`,
    onchange: () => change(productId, Math.max(0, Math.floor(Number(field.value)))),
  })
  return h(
    'li',
    { class: left === undefined ? '' : 'short' },
    artOf(product, 'small'),
    h(
      'div',
      { class: 'cart-name' },
      h('a', { href: `#/product/${productId}` }, product.name),
      left !== undefined && h('p', { class: 'short-line' }, left === 0 ? 'Sold out meanwhile' : `Only ${left} left`),
    ),
    field,
    h('span', { class: 'price' }, money(product.price * quantity)),
    h('button', { class: 'plain', type: 'button', 'aria-label': `Remove ${product.name}`, onclick: () => change(productId, 0) }, '×'),
  )
}

/** The order keeps its id until it is known what became of it: sent again, it is never a second one. */
async function placeOrder(lines, show) {
  try {
    await execute('placeOrder', { orderId: orderIdFor(lines), customerId, lines }).catch((error) => {
      if (error.code !== 'already_exists') throw error
    })
    emptyCart()
    toast('Thank you for your order.')
    location.assign('#/orders')
  } catch (error) {
    toast(explain(error), 'problem')
    await show(new Map((error.code === 'out_of_stock' ? error.details : []).map(({ productId, left }) => [productId, left])))
  }
}
