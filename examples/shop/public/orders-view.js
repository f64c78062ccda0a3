import { query } from './api.js'
import { customerId } from './cart.js'
import { emptyState, h } from './dom.js'
import { money, time } from './format.js'

/** What was ordered in this browser, newest first. */
export async function ordersView() {
  const list = h('ol', { class: 'orders' })
  const more = h('button', { class: 'button', type: 'button', onclick: () => append(next) }, 'Show more')
  const foot = h('div', { class: 'foot' })
  let next
  const append = async (after) => {
    const page = await query('orderHistory', { customerId, limit: 20, after })
    const names = await namesOf(page.items)
    list.append(...page.items.map((order) => orderCard(order, names)))
    next = page.next
    foot.replaceChildren(...(next ? [more] : []))
  }
  await append()
  const empty = list.childElementCount === 0 && emptyState('No orders yet', 'What you order is listed here.')
  return { title: 'Orders', node: h('div', { class: 'narrow' }, h('h1', { tabIndex: -1 }, 'Orders'), empty, list, foot) }
}

async function namesOf(orders) {
  const ids = [...new Set(orders.flatMap(({ lines }) => lines.map(({ productId }) => productId)))]
  const names = new Map()
  for (let start = 0; start < ids.length; start += 100) {
    const { items } = await query('products', { productIds: ids.slice(start, start + 100) })
    for (const { productId, name } of items) names.set(productId, name)
  }
  return names
}

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
          h('span', {}, `${quantity} × `, h('a', { href: `#/product/${productId}` }, names.get(productId) ?? 'something')),
          h('span', { class: 'price' }, money(quantity * price)),
        ),
      ),
    ),
  )
}
