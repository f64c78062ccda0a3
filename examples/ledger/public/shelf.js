import { execute, query } from './api.js'
import { explain, h, showIn, toast } from './dom.js'
import { every } from './every.js'
import { money } from './format.js'

let here

/** The accounts at the left: the largest, or those whose owner's name begins as one types. */
export function startShelf() {
  const list = h('ul', { class: 'accounts', 'aria-live': 'polite' })
  const title = h('h2', {})
  const field = h('input', {
    type: 'search',
    id: 'find-account',
    placeholder: 'Find an owner',
    autocomplete: 'off',
    maxLength: 50,
    oninput: () => look().catch((error) => toast(explain(error), 'problem')),
  })
  let latest = 0

  async function look() {
    const text = field.value.trim()
    const mineIs = ++latest
    const { items } = text
      ? await query('accounts', { text, limit: 30 }, { patient: false })
      : await query('richest', { limit: 15 }, { patient: false })
    if (mineIs !== latest) return
    title.textContent = text ? 'Found' : 'Largest accounts'
    showIn(list, [items, here], () => (items.length === 0 ? [nothing(text)] : items.map(row)))
  }

  document
    .getElementById('shelf')
    .replaceChildren(
      h('div', { class: 'find' }, h('label', { for: 'find-account', class: 'hidden' }, 'Find an account by its owner'), field),
      title,
      list,
      openForm(look),
    )
  addEventListener('written', () => look().catch(() => {}))
  addEventListener('shelf', () => look().catch(() => {}))
  every(3000, look)
}

/** Which account the page is about. */
export function markShelf(accountId) {
  here = accountId
  dispatchEvent(new Event('shelf'))
}

function row({ accountId, owner, balance, status }) {
  return h(
    'li',
    {},
    h(
      'a',
      { href: `#/account/${accountId}`, 'aria-current': accountId === here ? 'page' : undefined },
      h('span', { class: 'owner' }, owner),
      h('span', { class: 'amount' }, status === 'closed' ? 'closed' : money(balance)),
    ),
  )
}

function nothing(text) {
  return h(
    'li',
    { class: 'nothing' },
    text ? 'Nobody. Names are matched from their beginning, as they are written.' : 'No account yet: open the first.',
  )
}

function openForm(look) {
  const field = h('input', { id: 'open-owner', placeholder: 'Owner', autocomplete: 'off', maxLength: 50, required: true })
  const open = async (event) => {
    event.preventDefault()
    const accountId = crypto.randomUUID()
    try {
      await execute('openAccount', { accountId, owner: field.value.trim() })
      field.value = ''
      location.hash = `#/account/${accountId}`
      await look()
    } catch (error) {
      toast(explain(error), 'problem')
    }
  }
  return h(
    'form',
    { class: 'open-form', onsubmit: open },
    h('label', { for: 'open-owner' }, 'Open an account'),
    h('div', { class: 'row' }, field, h('button', { class: 'button primary', type: 'submit' }, 'Open')),
  )
}
