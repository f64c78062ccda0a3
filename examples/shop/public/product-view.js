import { execute, query } from './api.js'
import { artOf } from './art.js'
import { addToCart, customerId } from './cart.js'
import { emptyState, explain, h, toast } from './dom.js'
import { leafOf, money, plural, stockLine } from './format.js'

/** One product: what it is from the cards, how much there is from the stock levels, what people think of it from the catalogue. */
export async function productView(productId) {
  const [product, entry] = await Promise.all([query('product', { productId }), query('catalogueEntry', { productId })])
  if (!product) {
    return {
      title: 'Not here',
      node: h('div', { class: 'narrow' }, h('h1', { tabIndex: -1 }, 'Not here'), emptyState('There is no such product.')),
    }
  }
  const node = h(
    'div',
    { class: 'product' },
    artOf(product, 'large'),
    h(
      'div',
      { class: 'product-text' },
      h('a', { class: 'quiet', href: `#/?category=${encodeURIComponent(product.category)}` }, leafOf(product.category)),
      h('h1', { tabIndex: -1 }, product.name),
      h('p', { class: 'price big' }, money(product.price)),
      stockLine(product.stock),
      buyForm(product),
      ratingBox(productId, entry),
    ),
  )
  return { title: product.name, node }
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
  const summary = h('p', { class: 'rating-summary' })
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
    h(
      'div',
      { class: 'stars', role: 'group', 'aria-label': 'Your rating' },
      [1, 2, 3, 4, 5].map((stars) =>
        h('button', { type: 'button', 'aria-label': plural(stars, 'star', 'stars'), onclick: () => rate(stars) }, '★'),
      ),
    ),
  )
}
