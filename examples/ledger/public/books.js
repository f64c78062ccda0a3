import { query } from './api.js'
import { h, showIn } from './dom.js'
import { every } from './every.js'
import { money } from './format.js'

/** The equation at the top of every page: one snapshot of all accounts and transfers, looked at again and again while money moves. */
export function startBooks() {
  const box = document.getElementById('books')
  every(1500, async () => {
    const books = await query('books', {}, { patient: false })
    showIn(box, books, () => equation(books))
  })
}

function equation({ balances, inTransfer, deposited, withdrawn }) {
  const difference = balances + inTransfer - (deposited - withdrawn)
  const term = (label, cents) => h('div', { class: 'term' }, h('dt', {}, label), h('dd', {}, money(cents)))
  const sign = (text) => h('div', { class: 'sign', 'aria-hidden': 'true' }, text)
  return [
    h(
      'dl',
      { class: 'equation' },
      term('balances', balances),
      sign('+'),
      term('in transfer', inTransfer),
      sign('='),
      term('deposits', deposited),
      sign('−'),
      term('withdrawals', withdrawn),
    ),
    difference === 0 ? h('p', { class: 'stamp' }, 'The books balance') : h('p', { class: 'stamp wrong' }, `Out by ${money(difference)}`),
  ]
}
