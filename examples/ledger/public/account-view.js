import { execute, query } from './api.js'
import { emptyState, explain, h, showIn, toast } from './dom.js'
import { every } from './every.js'
import { centsIn, longTime, money, thisMonth } from './format.js'
import { lookBack } from './look-back.js'
import { statementTable } from './statement.js'
import { transferForm } from './transfer-form.js'

/** One account: what it holds, what one can do with it, and its statement, now or as of a moment in the past. */
export async function accountView(accountId, search, signal) {
  const asOf = search.get('asOf') ?? undefined
  const month = search.get('month') ?? (asOf && !/^\d+$/.test(asOf) ? asOf.slice(0, 7) : thisMonth())
  const past = asOf === undefined ? {} : { asOf }
  const [head, paper] = [h('div', {}), h('div', {})]
  let account

  const look = async (options) => {
    account = await query('balance', { accountId, ...past }, options)
    const statement = account && (await query('statement', { accountId, month, ...past }, options))
    if (signal.aborted) return
    showIn(head, [account, asOf], () => (account ? heading(account, asOf, accountId) : missing(asOf, accountId)))
    showIn(paper, [statement, month, account === null], () => (account ? statementTable({ accountId, month, asOf, statement }) : []))
  }

  await look()
  const refresh = () => look().catch((error) => toast(explain(error), 'problem'))
  const isOpen = asOf === undefined && account?.status === 'open'
  const forms = isOpen && h('div', { class: 'forms' }, cashForm(accountId, refresh), transferForm(accountId, refresh))
  if (asOf === undefined) every(2000, () => look({ patient: false }), signal)
  const foot = isOpen && h('p', { class: 'foot' }, closeButton(accountId))
  const node = h(
    'article',
    { class: `sheet ${asOf === undefined ? '' : 'past'}` },
    head,
    forms,
    paper,
    account && lookBack(accountId, asOf),
    foot,
  )
  return { title: account?.owner ?? 'Account', node }
}

function heading({ owner, balance, status }, asOf, accountId) {
  return [
    asOf !== undefined &&
      h(
        'p',
        { class: 'as-of' },
        `As of ${/^\d+$/.test(asOf) ? `position ${asOf} of the log` : longTime(asOf)}. `,
        h('a', { href: `#/account/${accountId}` }, 'Back to now'),
      ),
    h(
      'div',
      { class: 'account-head' },
      h('div', {}, h('h1', { tabIndex: -1 }, owner), h('p', { class: 'account-id' }, accountId)),
      h(
        'p',
        { class: 'held' },
        h('span', { class: 'held-label' }, status === 'closed' ? 'closed' : 'balance'),
        h('strong', {}, money(balance)),
      ),
    ),
  ].filter(Boolean)
}

function missing(asOf, accountId) {
  const text = asOf === undefined ? 'There is no such account.' : 'It had not been opened then.'
  return [
    h('h1', { tabIndex: -1 }, 'No account'),
    emptyState('', text, asOf !== undefined && h('a', { class: 'button', href: `#/account/${accountId}` }, 'Back to now')),
  ]
}

function cashForm(accountId, refresh) {
  const field = h('input', { id: 'cash-amount', inputMode: 'decimal', placeholder: '0.00', autocomplete: 'off' })
  const act = async (name, done) => {
    const amount = centsIn(field.value)
    if (amount === undefined) return toast('Write an amount such as 12.50', 'problem')
    try {
      await execute(name, { accountId, amount })
      field.value = ''
      toast(`${money(amount)} ${done}.`)
      dispatchEvent(new Event('written'))
    } catch (error) {
      toast(explain(error), 'problem')
    }
    await refresh()
  }
  const submit = (event) => {
    event.preventDefault()
    act('deposit', 'paid in')
  }
  return h(
    'form',
    { class: 'card', onsubmit: submit },
    h('h2', {}, 'At the counter'),
    h('label', { for: 'cash-amount' }, 'Amount'),
    field,
    h(
      'div',
      { class: 'row end' },
      h('button', { class: 'button', type: 'button', onclick: () => act('withdraw', 'paid out') }, 'Withdraw'),
      h('button', { class: 'button primary', type: 'submit' }, 'Deposit'),
    ),
  )
}

function closeButton(accountId) {
  const close = async () => {
    try {
      await execute('closeAccount', { accountId })
      toast('The account is closed.')
      dispatchEvent(new Event('written'))
      dispatchEvent(new Event('hashchange'))
    } catch (error) {
      toast(explain(error), 'problem')
    }
  }
  return h('button', { class: 'button quiet', type: 'button', onclick: close }, 'Close this account')
}
