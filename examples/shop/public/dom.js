/**
 * Makes an element. Properties that begin with `on` are listeners, `class` and names with a dash are attributes, the rest are properties. Text children
 * become text nodes: nothing anybody wrote is ever read as HTML.
 */
export function h(tag, properties = {}, ...children) {
  const element = document.createElement(tag)
  for (const [name, value] of Object.entries(properties)) {
    if (value === undefined || value === null || value === false) continue
    if (name.startsWith('on')) element.addEventListener(name.slice(2), value)
    else if (['class', 'role', 'for', 'scope'].includes(name) || name.includes('-')) element.setAttribute(name, String(value))
    else element[name] = value
  }
  element.append(...children.flat().filter((child) => child !== undefined && child !== null && child !== false))
  return element
}

/** A drawing of parts, each `[tag, attributes]`. */
export function drawing(className, viewBox, parts) {
  const make = (tag, attributes) => {
    const element = document.createElementNS('http://www.w3.org/2000/svg', tag)
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, String(value))
    return element
  }
  const svg = make('svg', { viewBox, class: className, 'aria-hidden': 'true' })
  svg.append(...parts.map(([tag, attributes]) => make(tag, attributes)))
  return svg
}

/** Says something to everyone, screen readers too, and takes it away again. */
export function toast(text, kind = 'note') {
  const box = h('p', { class: `toast toast-${kind}` }, text)
  document.getElementById('toasts').append(box)
  setTimeout(() => box.remove(), kind === 'problem' ? 7000 : 3500)
}

/** What a refusal means to a person. */
const refusals = {
  out_of_stock: 'There is not enough left of something in the cart.',
  unknown_product: 'That is not sold here any more.',
  already_exists: 'That exists already.',
}

export function explain(error) {
  return refusals[error.code] ?? error.errors?.[0]?.message ?? error.message
}

export function emptyState(title, text, ...more) {
  return h('div', { class: 'state' }, h('p', { class: 'state-title' }, title), text && h('p', {}, text), ...more)
}
