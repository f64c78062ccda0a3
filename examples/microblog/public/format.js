import { h } from './dom.js'

const relative = new Intl.RelativeTimeFormat('en', { numeric: 'auto', style: 'narrow' })
const whole = new Intl.NumberFormat('en')
const short = new Intl.NumberFormat('en', { notation: 'compact', maximumFractionDigits: 1 })
const fullDate = new Intl.DateTimeFormat('en', { dateStyle: 'long', timeStyle: 'short' })
const monthAndYear = new Intl.DateTimeFormat('en', { month: 'long', year: 'numeric' })

export const count = (number) => whole.format(number)
export const shortCount = (number) => (number < 10_000 ? whole.format(number) : short.format(number))
export const plural = (number, one, many) => `${number === 1 ? one : many}`
export const longDate = (iso) => fullDate.format(new Date(iso))
export const month = (iso) => monthAndYear.format(new Date(iso))

export function bytes(number) {
  if (number < 1024) return `${number} B`
  const units = ['kB', 'MB', 'GB', 'TB']
  let size = number / 1024
  let unit = 0
  while (size >= 1000 && unit < units.length - 1) {
    size /= 1024
    unit++
  }
  return `${size < 10 ? size.toFixed(1) : Math.round(size)} ${units[unit]}`
}

export function milliseconds(number) {
  if (number < 1000) return `${Math.round(number)} ms`
  return number < 60_000 ? `${(number / 1000).toFixed(1)} s` : `${Math.round(number / 60_000)} min`
}

export function ago(iso) {
  const seconds = (new Date(iso) - Date.now()) / 1000
  if (seconds > -45) return 'now'
  if (seconds > -3600) return relative.format(Math.round(seconds / 60), 'minute')
  if (seconds > -86_400) return relative.format(Math.round(seconds / 3600), 'hour')
  if (seconds > -7 * 86_400) return relative.format(Math.round(seconds / 86_400), 'day')
  const date = new Date(iso)
  const sameYear = date.getFullYear() === new Date().getFullYear()
  return date.toLocaleDateString('en', { day: 'numeric', month: 'short', ...(sameYear ? {} : { year: 'numeric' }) })
}

/** A time that stays true: `refreshTimes` writes it anew. */
export function time(iso) {
  return h('time', { dateTime: iso, title: longDate(iso) }, ago(iso))
}

export function refreshTimes() {
  for (const element of document.querySelectorAll('time')) {
    const text = ago(element.dateTime)
    if (!element.classList.contains('full') && element.textContent !== text) element.textContent = text
  }
}

/** A person's initials on a colour of their own. */
export function avatar(userId, name, size = '') {
  const letters = name.trim().split(/\s+/)
  const initials = [letters[0], letters.length > 1 ? letters.at(-1) : ''].map((word) => [...word][0] ?? '').join('')
  const hue = Number.parseInt(userId.slice(0, 6), 16) % 12
  return h('span', { class: `avatar hue-${hue} ${size}`, 'aria-hidden': 'true' }, initials.toUpperCase())
}

/** Text with its hashtags as links to a search for them. */
export function bodyText(text) {
  return text.split(/((?<![\p{L}\p{N}_&])#[\p{L}\p{N}_]+)/u).map((part, i) => {
    if (i % 2 === 0) return part
    return h('a', { href: `#/search?text=${encodeURIComponent(part.slice(1))}` }, part)
  })
}

const entities = { '&amp;': '&', '&lt;': '<', '&gt;': '>', '&quot;': '"', '&#39;': "'" }

/** A snippet, which is escaped HTML with matches in `<mark>`, as nodes: whatever else it might hold stays text. */
export function snippetText(snippet) {
  return snippet.split(/<mark>(.*?)<\/mark>/s).map((part, i) => {
    const text = part.replaceAll(/&(?:amp|lt|gt|quot|#39);/g, (entity) => entities[entity])
    return i % 2 === 0 ? text : h('mark', {}, text)
  })
}
