import { h, toast } from './dom.js'

/** Goes to the account as it was at a moment, or when the log had so many events. */
export function lookBack(accountId, asOf) {
  const field = h('input', {
    id: 'look-back',
    placeholder: 'a position, or a time such as 2026-03-01 12:00',
    autocomplete: 'off',
    value: asOf ?? '',
  })
  const submit = (event) => {
    event.preventDefault()
    const asked = momentIn(field.value.trim())
    if (asked === undefined) return toast('Write a position of the log, or a date and time', 'problem')
    location.hash = `#/account/${accountId}?asOf=${encodeURIComponent(asked)}`
  }
  return h(
    'form',
    { class: 'look-back', onsubmit: submit },
    h('label', { for: 'look-back' }, 'As of'),
    field,
    h('button', { class: 'button', type: 'submit' }, 'Look back'),
  )
}

/** A position as it is; a time as ISO 8601, what is written without a zone being the reader's own. */
function momentIn(text) {
  if (/^\d{1,15}$/.test(text)) return text
  if (/^\d{4}-\d\d-\d\dT[\d:.]+Z$/.test(text)) return text
  const at = new Date(text)
  return text === '' || Number.isNaN(at.getTime()) ? undefined : at.toISOString()
}
