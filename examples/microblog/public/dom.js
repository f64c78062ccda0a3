/**
 * Makes an element. Properties that begin with `on` are listeners, `class` and names with a dash are attributes, the rest are properties. Text children
 * become text nodes: nothing a user wrote is ever read as HTML.
 */
export function h(tag, properties = {}, ...children) {
  const element = document.createElement(tag)
  for (const [name, value] of Object.entries(properties)) {
    if (value === undefined || value === null || value === false) continue
    if (name.startsWith('on')) element.addEventListener(name.slice(2), value)
    else if (name === 'class' || name === 'role' || name === 'for' || name.includes('-')) element.setAttribute(name, String(value))
    else element[name] = value
  }
  element.append(...children.flat().filter((child) => child !== undefined && child !== null && child !== false))
  return element
}

const shapes = {
  everyone: 'M3 12a9 9 0 1 0 18 0a9 9 0 1 0-18 0M3.6 9h16.8M3.6 15h16.8M12 3a14 14 0 0 0 0 18M12 3a14 14 0 0 1 0 18',
  home: 'M4 11l8-7 8 7M6 9.5V20h12V9.5M10 20v-6h4v6',
  search: 'M4 10.5a6.5 6.5 0 1 0 13 0a6.5 6.5 0 1 0-13 0M15.5 15.5L20 20',
  person: 'M8 8a4 4 0 1 0 8 0a4 4 0 1 0-8 0M5 20c.6-3.6 3.4-6 7-6s6.4 2.4 7 6',
  heart: 'M12 20s-7.500-4.600-7.500-10A4.300 4.300 0 0 1 12 7.300A4.300 4.300 0 0 1 19.500 10C19.500 15.400 12 20 12 20z',
  reply: 'M4 6.500h16v10.500h-9l-4.500 3.500v-3.500H4z',
  edit: 'M5 19l.8-3.800L15.500 5.500l3 3L8.800 18.200z',
  trash: 'M5 7h14M9.500 7V5h5v2M7 7l.8 12h8.400L17 7M10.300 10.500v5M13.700 10.500v5',
  back: 'M14.500 6l-6 6 6 6',
  up: 'M6 14.500l6-6 6 6',
}

/** A small line drawing that takes the colour of the text around it. */
export function icon(name) {
  const svg = document.createElementNS('http://www.w3.org/2000/svg', 'svg')
  svg.setAttribute('viewBox', '0 0 24 24')
  svg.setAttribute('class', `icon icon-${name}`)
  svg.setAttribute('aria-hidden', 'true')
  const path = document.createElementNS('http://www.w3.org/2000/svg', 'path')
  path.setAttribute('d', shapes[name])
  svg.append(path)
  return svg
}

/** Says something to everyone, screen readers too, and takes it away again. */
export function toast(text, kind = 'note') {
  const box = h('p', { class: `toast toast-${kind}` }, text)
  document.getElementById('toasts').append(box)
  setTimeout(() => box.remove(), kind === 'problem' ? 7000 : 3500)
}

export function emptyState(title, text, ...more) {
  return h('div', { class: 'state' }, h('p', { class: 'state-title' }, title), text && h('p', {}, text), ...more)
}
