import { execute, query } from './api.js'
import { explain, h, showIn, toast } from './dom.js'
import { centsIn, money } from './format.js'

const words = { requested: 'on its way', completed: 'arrived', refunded: 'came back: it could not be done' }

/** Sends money to another account, and shows how the transfer gets on until it has ended. */
export function transferForm(accountId, refresh) {
  let receiver
  const amountField = h('input', { id: 'transfer-amount', inputMode: 'decimal', placeholder: '0.00', autocomplete: 'off' })
  const found = h('ul', { class: 'suggestions', id: 'transfer-found' })
  const sent = h('ul', { class: 'sent', 'aria-live': 'polite' })
  const toField = h('input', {
    id: 'transfer-to',
    placeholder: 'Who? Begin with their name',
    autocomplete: 'off',
    maxLength: 50,
    'aria-controls': 'transfer-found',
    oninput: () => {
      receiver = undefined
      suggest().catch((error) => toast(explain(error), 'problem'))
    },
  })
  let latest = 0

  async function suggest() {
    const text = toField.value.trim()
    const mineIs = ++latest
    const { items } = text === '' ? { items: [] } : await query('accounts', { text, limit: 6 })
    if (mineIs !== latest || receiver) return
    const others = items.filter((item) => item.accountId !== accountId && item.status === 'open')
    showIn(found, others, () => others.map(suggestion))
  }

  function suggestion(item) {
    const choose = () => {
      receiver = item
      toField.value = item.owner
      showIn(found, [], () => [])
      amountField.focus()
    }
    return h(
      'li',
      {},
      h('button', { type: 'button', onclick: choose }, h('span', {}, item.owner), h('small', {}, item.accountId.slice(0, 8))),
    )
  }

  async function submit(event) {
    event.preventDefault()
    const amount = centsIn(amountField.value)
    if (!receiver) return toast('Choose who gets it', 'problem')
    if (amount === undefined) return toast('Write an amount such as 12.50', 'problem')
    const transferId = crypto.randomUUID()
    try {
      await execute('transfer', { transferId, from: accountId, to: receiver.accountId, amount })
      amountField.value = ''
      follow(transferId, amount, receiver.owner)
    } catch (error) {
      toast(explain(error), 'problem')
    }
  }

  /** Asks until the transfer has ended. The steps are others' writes, which no token of ours names. */
  async function follow(transferId, amount, owner) {
    const state = h('span', { class: 'sent-state' }, words.requested)
    const line = h('li', { 'data-transfer': transferId, 'data-status': 'requested' }, h('span', {}, `${money(amount)} to ${owner}`), state)
    sent.prepend(line)
    for (let status = 'requested'; status === 'requested' && line.isConnected; ) {
      await new Promise((resolve) => setTimeout(resolve, 150))
      status = (await query('transferStatus', { transferId }).catch(() => undefined))?.status ?? status
      state.textContent = words[status]
      line.dataset.status = status
    }
    dispatchEvent(new Event('written'))
    await refresh()
  }

  return h(
    'form',
    { class: 'card', onsubmit: submit },
    h('h2', {}, 'Transfer'),
    h('label', { for: 'transfer-to' }, 'To'),
    h('div', { class: 'combo' }, toField, found),
    h('label', { for: 'transfer-amount' }, 'Amount'),
    amountField,
    h('div', { class: 'row end' }, h('button', { class: 'button primary', type: 'submit' }, 'Send')),
    sent,
  )
}
