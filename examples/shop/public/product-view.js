import { execute, query } from './api.js'
import { artOf } from './art.js'
import { addToCart, customerId } from './cart.js'
import { emptyState, explain, h, toast } from './dom.js'
import { leafOf, money, plural, stockLine } from './format.js'
import { isPassing, part, reason } from './part.js'

/** One product: what it is from the cards, how much there is from the stock levels, what people think of it from the catalogue. */
export function productView(productId, signal) {
  const rating = part({
    readModels: ['catalogue'],
    waits: 'ratings wait',
    signal,
    load: () => query('catalogueEntry', { productId }),
    draw: (entry) => ratingBox(productId, entry),
  })
  const page = { title: 'Product' }
  const main = part({
    readModels: ['product_cards', 'stock_levels'],
    waits: 'what this is and costs waits',
    heading: 'Product',
    signal,
    load: () => found(productId),
    draw: ({ product, note }) => {
      page.title = product?.name ?? 'Not here'
      page.onTitle?.()
      return product ? whole(product, note, rating.node) : notHere()
    },
  })
  return Object.assign(page, { node: main.node, shown: main.shown.then(() => rating.shown) })
}

/** From the store that every page reads; while that does not answer, from the catalogue, which knows the same. */
async function found(productId) {
  try {
    return { product: await query('product', { productId }) }
  } catch (error) {
    if (!isPassing(error)) throw error
    const product = await query('catalogueEntry', { productId }).catch(() => undefined)
    if (!product) throw error
    const note = await reason(error, ['product_cards', 'stock_levels'], 'price and stock are those of the catalogue')
    return { product, note, partial: true }
  }
}

const notHere = () => h('div', { class: 'narrow' }, h('h1', { tabIndex: -1 }, 'Not here'), emptyState('There is no such product.'))

function whole(product, note, rating) {
  return h(
    'div',
    { class: 'product' },
    artOf(product, 'large'),
    h(
      'div',
      { class: 'product-text' },
      h('a', { class: 'quiet', href: `#/?category=${encodeURIComponent(product.category)}` }, leafOf(product.category)),
      h('h1', { tabIndex: -1 }, product.name),
      note && h('p', { class: 'notice', role: 'status' }, note),
      h('p', { class: 'price big' }, money(product.price)),
      stockLine(product.stock),
      buyForm(product),
      rating,
    ),
  )
}

function buyForm({ productId, name, stock }) {
  const quantity = h('input', { id: 'quantity', type: 'number', min: 1, max: Math.max(1, Math.min(stock, 1000)), value: 1, required: true })
  const add = (event) => {
    event.preventDefault()
    addToCart(productId, Number(quantity.value))
    toast(`${name} is in your cart.`)
  }
  return h(
    'form',
    { class: 'buy', onsubmit: add },
    h('label', { class: 'hidden', for: 'quantity' }, 'Quantity'),
    quantity,
    h('button', { class: 'button primary', type: 'submit', disabled: stock === 0 }, stock === 0 ? 'Sold out' : 'Add to cart'),
  )
}

function ratingBox(productId, entry) {
  const summary = h('p', { class: 'rating-summary', 'aria-live': 'polite' })
  const say = (found) => {
    const text = found?.ratings ? `${found.rating.toFixed(1)} of 5 from ${plural(found.ratings, 'rating', 'ratings')}` : 'No ratings yet'
    summary.textContent = text
  }
  const rate = async (stars) => {
    try {
      await execute('rateProduct', { productId, customerId, stars })
      say(await query('catalogueEntry', { productId }))
    } catch (error) {
      toast(explain(error), 'problem')
    }
  }
  say(entry)
  return h(
    'div',
    { class: 'rating' },
    summary,
    h('p', { class: 'quiet', id: 'rate' }, 'Rate it'),
    h(
      'div',
      { class: 'stars', role: 'group', 'aria-labelledby': 'rate' },
      [1, 2, 3, 4, 5].map((stars) =>
        h('button', { type: 'button', 'aria-label': plural(stars, 'star', 'stars'), onclick: () => rate(stars) }, '★'),
      ),
    ),
  )
}
