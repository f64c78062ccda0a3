import { execute, query } from './api.js'
import { watchArrival } from './arrival.js'
import { artOf } from './art.js'
import { emptyState, explain, h, toast } from './dom.js'
import { centsIn, leafOf, money } from './format.js'
import { uuid } from './ids.js'
import { part } from './part.js'

/** Prices and stock, for those who run the shop; and after each change, when each store has it. */
export function adminView(search, signal) {
  const text = search.get('text') ?? ''
  const arrival = h('div', { class: 'arrival', 'aria-live': 'polite' })
  arrival.append(emptyState('No change yet', 'Change a price or the stock, and see here when each store has it.'))
  const field = h('input', { id: 'admin-find', type: 'search', value: text, placeholder: 'Words of a name' })
  const find = (event) => {
    event.preventDefault()
    location.assign(`#/admin?text=${encodeURIComponent(field.value)}`)
  }
  const list = part({
    readModels: ['catalogue', 'catalogue_words', 'catalogue_facets'],
    waits: 'finding products waits',
    signal,
    load: () => query('catalogue', { text: text || undefined, sort: 'name', limit: 30 }),
    draw: ({ items }) =>
      items.length > 0
        ? h(
            'ul',
            { class: 'shelf' },
            items.map((item) => productRow(item, arrival)),
          )
        : emptyState('Nothing fits'),
  })
  const node = h(
    'div',
    { class: 'admin' },
    h(
      'section',
      { class: 'admin-list' },
      h('h1', { tabIndex: -1 }, 'Prices and stock'),
      h('form', { class: 'admin-find', onsubmit: find }, h('label', { for: 'admin-find' }, 'Find products'), field),
      list.node,
    ),
    h('aside', { class: 'admin-arrival', 'aria-label': 'Where the last change is' }, h('h2', {}, 'Where it is'), arrival),
    addForm(arrival),
  )
  return { title: 'Prices and stock', node, shown: list.shown }
}

function productRow(item, arrival) {
  const shown = {
    price: h('strong', { class: 'row-price' }, money(item.price)),
    stock: h('strong', { class: 'row-stock' }, String(item.stock)),
  }
  const refresh = ({ price, stock }) => {
    shown.price.textContent = money(price)
    shown.stock.textContent = String(stock)
  }
  const change = async (name, input, what, readModels) => {
    const ok = await attempt(name, { productId: item.productId, ...input })
    if (!ok) return
    await watchArrival(arrival, { productId: item.productId, what, readModels })
    // What the product's own store does not tell now is seen when the page is opened again.
    await query('product', { productId: item.productId }).then(refresh, () => {})
  }
  return h(
    'li',
    { 'data-product': item.productId },
    artOf(item, 'small'),
    h(
      'div',
      { class: 'row-name' },
      h('a', { href: `#/product/${item.productId}` }, item.name),
      h('span', { class: 'quiet' }, leafOf(item.category)),
    ),
    small({
      label: `New price of ${item.name}`,
      placeholder: 'price',
      action: 'Set',
      before: shown.price,
      read: (text) => centsIn(text),
      complaint: 'Write a price such as 12.50.',
      send: (price) => change('changePrice', { price }, `${item.name} costs ${money(price)}`, ['catalogue', 'product_cards']),
    }),
    small({
      label: `Add to the stock of ${item.name}`,
      placeholder: 'more',
      action: 'Add',
      before: shown.stock,
      read: (text) => (/^[1-9]\d{0,5}$/.test(text) ? Number(text) : undefined),
      complaint: 'Write a whole number.',
      send: (quantity) => change('restock', { quantity }, `${quantity} more of ${item.name}`, ['catalogue', 'stock_levels']),
    }),
  )
}

/** A field and a button that belong together. */
function small({ label, placeholder, action, before, read, complaint, send }) {
  const field = h('input', { 'aria-label': label, placeholder, inputMode: 'decimal', autocomplete: 'off' })
  const submit = async (event) => {
    event.preventDefault()
    const value = read(field.value.trim())
    if (value === undefined) return toast(complaint, 'problem')
    field.value = ''
    await send(value)
  }
  return h('form', { class: 'small', onsubmit: submit }, before, field, h('button', { class: 'button', type: 'submit' }, action))
}

async function attempt(name, input) {
  try {
    await execute(name, input)
    return true
  } catch (error) {
    toast(explain(error), 'problem')
    return false
  }
}

function addForm(arrival) {
  const field = (id, label, value = '') => [
    h('label', { for: `add-${id}` }, label),
    h('input', { id: `add-${id}`, required: true, value, autocomplete: 'off' }),
  ]
  const submit = async (event) => {
    event.preventDefault()
    const [name, category, price, stock] = ['name', 'category', 'price', 'stock'].map((id) =>
      document.getElementById(`add-${id}`).value.trim(),
    )
    const cents = centsIn(price)
    if (cents === undefined) return toast('Write a price such as 12.50.', 'problem')
    const productId = uuid()
    if (!(await attempt('addProduct', { productId, name, category, price: cents, stock: Number(stock) }))) return
    event.target.reset()
    await watchArrival(arrival, { productId, what: `${name} is new`, readModels: ['catalogue', 'product_cards', 'stock_levels'] })
  }
  return h(
    'form',
    { class: 'add', onsubmit: submit },
    h('h2', {}, 'Add a product'),
    field('name', 'Name'),
    field('category', 'Shelf', 'Kitchen/Coffee'),
    field('price', 'Price'),
    field('stock', 'Stock', '10'),
    h('button', { class: 'button primary', type: 'submit' }, 'Add'),
  )
}
