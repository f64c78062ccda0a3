import { h } from './dom.js'
import { money, monthBeside, monthName, thisMonth, time } from './format.js'

const kinds = {
  deposit: ['Deposit', 'in'],
  withdrawal: ['Withdrawal', 'out'],
  transfer_in: ['Transfer received', 'in'],
  transfer_out: ['Transfer sent', 'out'],
  refund: ['Transfer came back', 'in'],
}
/** More lines than anybody reads at once are left out, newest kept. */
const mostLines = 200

/** A month's statement as it would be printed, with the months beside it. A line's time leads to the account as it was then. */
export function statementTable({ accountId, month, asOf, statement }) {
  const past = asOf === undefined ? '' : `&asOf=${encodeURIComponent(asOf)}`
  const to = (step) => `#/account/${accountId}?month=${monthBeside(month, step)}${past}`
  return h(
    'section',
    { class: 'statement' },
    h(
      'div',
      { class: 'statement-head' },
      h('h2', {}, `Statement, ${monthName(month)}`),
      h('a', { class: 'button small', href: to(-1), 'aria-label': 'The month before' }, '‹'),
      month < thisMonth() && h('a', { class: 'button small', href: to(1), 'aria-label': 'The month after' }, '›'),
    ),
    statement ? table(accountId, statement) : h('p', { class: 'lead' }, 'The account had not been opened yet.'),
  )
}

function table(accountId, { opening, closing, lines }) {
  const shown = lines.slice(-mostLines)
  return h(
    'table',
    {},
    h(
      'thead',
      {},
      h(
        'tr',
        {},
        ['When', 'What', 'Out', 'In', 'Balance'].map((text) => h('th', { scope: 'col' }, text)),
      ),
    ),
    h(
      'tbody',
      {},
      sumRow('opening', 'Brought forward', opening),
      lines.length > shown.length && h('tr', { class: 'more' }, h('td', { colspan: 5 }, `${lines.length - shown.length} earlier lines`)),
      shown.map((line) => lineRow(accountId, line)),
    ),
    h('tfoot', {}, sumRow('closing', 'Carried forward', closing)),
  )
}

function lineRow(accountId, line) {
  const [text, side] = kinds[line.kind]
  const href = `#/account/${accountId}?asOf=${encodeURIComponent(line.time)}`
  return h(
    'tr',
    { 'data-kind': line.kind },
    h('td', { class: 'when' }, h('a', { href, title: 'See the account as of then' }, time(line.time))),
    h('td', {}, text),
    h('td', { class: 'amount out' }, side === 'out' ? money(line.amount) : ''),
    h('td', { class: 'amount' }, side === 'in' ? money(line.amount) : ''),
    h('td', { class: 'amount' }, money(line.balance)),
  )
}

function sumRow(name, text, cents) {
  return h('tr', { class: name }, h('td', {}), h('th', { scope: 'row', colspan: 3 }, text), h('td', { class: 'amount' }, money(cents)))
}
