import { query } from './api.js'
import { emptyState, h, showIn } from './dom.js'
import { every } from './every.js'
import { count, money } from './format.js'

/** What one sees first: how large it all is, and who holds the most. */
export async function overview(signal) {
  const box = h('div', {})
  const look = async () => {
    const [books, { items }] = [await query('books'), await query('richest', { limit: 10 })]
    showIn(box, [books.accounts, items], () => [lead(books), items.length > 0 ? ranking(items) : first()])
  }
  await look()
  every(3000, look, signal)
  return { title: 'Overview', node: h('article', { class: 'sheet' }, h('h1', { tabIndex: -1 }, 'The ledger'), box) }
}

function lead({ accounts, balances }) {
  const text = `${count(accounts)} ${accounts === 1 ? 'account' : 'accounts'}, ${money(balances)} in all. Nothing is ever changed here: everything is an entry, and each figure on this page is the sum of entries.`
  return h('p', { class: 'lead' }, text)
}

function ranking(items) {
  const most = Math.max(1, ...items.map(({ balance }) => balance))
  return h(
    'table',
    { class: 'ranking' },
    h('caption', {}, 'Who holds the most'),
    h(
      'tbody',
      {},
      items.map(({ accountId, owner, balance }, i) =>
        h(
          'tr',
          {},
          h('td', { class: 'rank' }, String(i + 1)),
          h('th', { scope: 'row' }, h('a', { href: `#/account/${accountId}` }, owner)),
          h('td', { class: 'bar' }, h('meter', { max: most, value: balance, 'aria-hidden': 'true' })),
          h('td', { class: 'amount' }, money(balance)),
        ),
      ),
    ),
  )
}

function first() {
  return emptyState('An empty book', 'Open an account at the left, pay something in, and send some of it to another.')
}
