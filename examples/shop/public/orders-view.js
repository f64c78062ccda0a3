import { query } from './api.js'
import { customerId } from './cart.js'
import { emptyState, explain, h, toast } from './dom.js'
import { money, time } from './format.js'
import { part, patienceMs, pause } from './part.js'

/** What was ordered in this browser, newest first. The orders are in one store, the names of what was ordered in another: the orders do not wait for them. */
export function ordersView(signal) {
  const names = new Map()
  const list = h('ol', { class: 'orders' })
  const more = h('button', { class: 'button', type: 'button' }, 'Show more')
  const foot = h('div', { class: 'foot' })
  const naming = h('div', {})
  const load = (after) => query('orderHistory', { customerId, limit: 20, after })
  const append = ({ items, next }) => {
    list.append(...items.map((order) => orderCard(order, names)))
    more.onclick = () => showMore(next)
    foot.replaceChildren(...(next ? [more] : []))
    return items
  }
  const showMore = async (after) => {
    try {
      const first = append(await load(after))[0]
      await named(first ? unnamed() : []).shown
      list.querySelector(`[data-order="${first?.orderId}"] a`)?.focus()
    } catch (error) {
      toast(explain(error), 'problem')
    }
  }
  const unnamed = () =>
    [...new Set([...list.querySelectorAll('a[data-product]')].map((link) => link.dataset.product))].filter((id) => !names.has(id))
  const named = (ids) => {
    const filling = part({
      readModels: ['product_cards', 'stock_levels'],
      waits: 'the names of what you ordered wait',
      signal,
      load: () => (ids.length > 0 ? readNames(ids, names) : undefined),
      draw: () => {
        for (const link of list.querySelectorAll('a[data-product]')) link.textContent = nameIn(names, link.dataset.product)
        return []
      },
    })
    naming.replaceChildren(filling.node)
    return filling
  }
  const orders = part({
    readModels: ['order_history'],
    waits: 'your orders wait',
    signal,
    load: () => load(),
    draw: (page) => {
      if (append(page).length === 0) return emptyState('No orders yet', 'What you order is listed here.')
      named(unnamed())
      return [naming, list, foot]
    },
  })
  const node = h('div', { class: 'narrow' }, h('h1', { tabIndex: -1 }, 'Orders'), orders.node)
  return { title: 'Orders', node, shown: orders.shown.then(() => pause(patienceMs / 4)) }
}

async function readNames(ids, names) {
  for (let start = 0; start < ids.length; start += 100) {
    const asked = ids.slice(start, start + 100)
    const { items } = await query('products', { productIds: asked })
    for (const productId of asked) names.set(productId, 'something that is not sold any more')
    for (const { productId, name } of items) names.set(productId, name)
  }
}

const nameIn = (names, productId) => names.get(productId) ?? '…'

function orderCard({ orderId, placedAt, total, lines }, names) {
  return h(
    'li',
    { 'data-order': orderId },
    h('div', { class: 'order-head' }, time(placedAt), h('strong', {}, money(total))),
    h(
      'ul',
      {},
      lines.map(({ productId, quantity, price }) =>
        h(
          'li',
          {},
          h('span', {}, `${quantity} × `, h('a', { href: `#/product/${productId}`, 'data-product': productId }, nameIn(names, productId))),
          h('span', { class: 'price' }, money(quantity * price)),
        ),
      ),
    ),
  )
}
