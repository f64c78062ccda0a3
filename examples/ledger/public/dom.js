/**
 * Makes an element. Properties that begin with `on` are listeners, `class` and names with a dash are attributes, the rest are properties. Text children
 * become text nodes: nothing a user wrote is ever read as HTML.
 */
export function h(tag, properties = {}, ...children) {
  const element = document.createElement(tag)
  for (const [name, value] of Object.entries(properties)) {
    if (value === undefined || value === null || value === false) continue
    if (name.startsWith('on')) element.addEventListener(name.slice(2), value)
    else if (['class', 'role', 'for', 'colspan', 'scope'].includes(name) || name.includes('-')) element.setAttribute(name, String(value))
    else element[name] = value
  }
  element.append(...children.flat().filter((child) => child !== undefined && child !== null && child !== false))
  return element
}

/** Puts nodes into a box only when what they show has changed, so that nothing flickers and no focus is lost. */
export function showIn(box, shown, make) {
  const key = JSON.stringify(shown)
  if (box.shownKey === key) return
  box.shownKey = key
  const nodes = make()
  box.replaceChildren(...(Array.isArray(nodes) ? nodes : [nodes]))
}

/** Says something to everyone, screen readers too, and takes it away again. */
export function toast(text, kind = 'note') {
  const box = h('p', { class: `toast toast-${kind}` }, text)
  document.getElementById('toasts').append(box)
  setTimeout(() => box.remove(), kind === 'problem' ? 7000 : 3500)
}

/** What a refusal means to a person. */
const refusals = {
  account_not_open: 'That account is not open.',
  insufficient_funds: 'There is not enough on the account.',
  balance_not_zero: 'Only an empty account can be closed, and none whose money is on its way.',
  already_exists: 'That exists already.',
}

export function explain(error) {
  return refusals[error.code] ?? error.errors?.[0]?.message ?? error.message
}

export function emptyState(title, text, ...more) {
  return h('div', { class: 'state' }, h('p', { class: 'state-title' }, title), text && h('p', {}, text), ...more)
}
