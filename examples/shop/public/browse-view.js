import { query } from './api.js'
import { artOf } from './art.js'
import { emptyState, explain, h, toast } from './dom.js'
import { bandName, count, departmentOf, leafOf, money, plural, stockLine } from './format.js'
import { part } from './part.js'

const sorts = { relevance: 'Featured', name: 'Name', price: 'Price, low to high', '-price': 'Price, high to low' }

/** The catalogue, filtered as the address says. */
export function browseView(search, signal) {
  const asked = askedBy(search)
  const load = (after) => query('catalogue', { ...asked, limit: 24, after })
  const title = titleOf(asked)
  const found = part({
    readModels: ['catalogue', 'catalogue_words', 'catalogue_facets'],
    waits: 'the shelves and searching wait',
    heading: title,
    signal,
    load: () => load(),
    draw: (first) =>
      h(
        'div',
        { class: 'browse' },
        facetsBox(first.facets, search),
        h(
          'section',
          { class: 'results', 'aria-label': 'Products' },
          h('div', { class: 'results-head' }, h('h1', { tabIndex: -1 }, title), sortBox(search)),
          chosenLine(first.facets, asked, search),
          first.items.length > 0 ? shelf(first, load) : emptyState('Nothing fits', 'Try fewer words, or another shelf.', clearLink()),
        ),
      ),
  })
  return { title, ...found }
}

/** Products, and a button for those after them. */
function shelf(first, load) {
  const grid = h('ul', { class: 'grid' }, first.items.map(tile))
  const foot = h('div', { class: 'foot' })
  const more = h('button', { class: 'button', type: 'button', onclick: () => loadMore() }, 'Show more')
  let { next } = first
  const showFoot = () => foot.replaceChildren(...(next ? [more] : []))
  const loadMore = async () => {
    more.disabled = true
    try {
      const page = await load(next)
      const tiles = page.items.map(tile)
      grid.append(...tiles)
      next = page.next
      showFoot()
      tiles[0]?.querySelector('a').focus()
    } catch (error) {
      toast(explain(error), 'problem')
    }
    more.disabled = false
  }
  showFoot()
  return h('div', {}, grid, foot)
}

function askedBy(search) {
  const number = (name) => (search.has(name) ? Number(search.get(name)) : undefined)
  return {
    text: search.get('text') || undefined,
    category: search.get('category') || undefined,
    minPrice: number('minPrice'),
    maxPrice: number('maxPrice'),
    sort: search.get('sort') || undefined,
  }
}

function titleOf({ text, category }) {
  if (text) return `“${text}”`
  return category ? leafOf(category) : 'Everything'
}

/** The address of the same page with some of it changed; what is null is taken out. */
function addressWith(search, changes) {
  const changed = new URLSearchParams(search)
  for (const [name, value] of Object.entries(changes)) {
    if (value === null) changed.delete(name)
    else changed.set(name, value)
  }
  return `#/?${changed}`
}

function clearLink() {
  return h('a', { class: 'button', href: '#/' }, 'See everything')
}

/** How many there are, and what was chosen, each with a way to take it back. */
function chosenLine({ categories }, { text, category, minPrice, maxPrice }, search) {
  const inPlace = categories.filter(({ value }) => !category || value === category || departmentOf(value) === category)
  const chips = [
    text && ['text', `“${text}”`, { text: null }],
    category && ['category', category.replace('/', ' / '), { category: null }],
    minPrice !== undefined && [
      'price',
      bandName({ from: minPrice, to: maxPrice ?? Number.POSITIVE_INFINITY }),
      { minPrice: null, maxPrice: null },
    ],
  ].filter(Boolean)
  return h(
    'p',
    { class: 'chosen' },
    h('span', { class: 'found' }, plural(sumOf(inPlace), 'product', 'products')),
    chips.map(([name, label, changes]) =>
      h(
        'a',
        { class: 'chip', href: addressWith(search, changes), 'data-chip': name },
        h('span', {}, label),
        h('span', { class: 'hidden' }, ', take it back'),
        h('span', { 'aria-hidden': 'true' }, ' ×'),
      ),
    ),
    chips.length > 1 && h('a', { class: 'clear', href: '#/' }, 'Clear all'),
  )
}

export function tile(item) {
  return h(
    'li',
    { class: item.available ? 'tile' : 'tile gone' },
    h(
      'a',
      { href: `#/product/${item.productId}` },
      artOf(item),
      h('span', { class: 'tile-name' }, item.name),
      h('span', { class: 'price' }, money(item.price)),
    ),
    stockLine(item.stock),
  )
}

function facetsBox({ categories, prices }, search) {
  const departments = Map.groupBy(categories, ({ value }) => departmentOf(value))
  const lists = [...departments].map(([department, inside]) =>
    h(
      'li',
      {},
      choice(search, 'category', department, department, sumOf(inside)),
      inside.some(({ value }) => value !== department) &&
        h(
          'ul',
          {},
          inside.map(({ value, count: number }) => h('li', {}, choice(search, 'category', value, leafOf(value), number))),
        ),
    ),
  )
  const isChosen = (band) => search.get('minPrice') === String(band.from) && search.get('maxPrice') === String(band.to)
  const bands = prices.map((band) => {
    const changes = isChosen(band) ? { minPrice: null, maxPrice: null } : { minPrice: band.from, maxPrice: band.to }
    return h('li', {}, link(addressWith(search, changes), isChosen(band), bandName(band), band.count))
  })
  // On a narrow page they would push everything else out of sight: there one opens them.
  const box = h(
    'details',
    { open: matchMedia('(min-width: 801px)').matches },
    h('summary', { class: 'button' }, 'Shelves and prices'),
    h('h2', {}, 'Shelves'),
    h('ul', { class: 'facet' }, lists),
    h('h2', {}, 'Price'),
    h('ul', { class: 'facet' }, bands),
  )
  return h('nav', { class: 'facets', 'aria-label': 'Narrow down' }, box)
}

const sumOf = (values) => values.reduce((sum, { count: number }) => sum + number, 0)

function choice(search, name, value, text, number) {
  const isChosen = search.get(name) === value
  return link(addressWith(search, { [name]: isChosen ? null : value }), isChosen, text, number)
}

function link(href, isChosen, text, number) {
  return h('a', { href, 'aria-current': isChosen && 'true' }, h('span', {}, text), h('span', { class: 'number' }, count(number)))
}

function sortBox(search) {
  const chosen = search.get('sort') ?? 'relevance'
  const select = h(
    'select',
    { id: 'sort', onchange: () => location.assign(addressWith(search, { sort: select.value })) },
    Object.entries(sorts).map(([value, text]) => h('option', { value, selected: value === chosen }, text)),
  )
  return h('div', { class: 'sort' }, h('label', { for: 'sort' }, 'Sort by'), select)
}
