import { h } from './dom.js'

const amounts = new Intl.NumberFormat('en', { style: 'currency', currency: 'EUR' })
const rounded = new Intl.NumberFormat('en', { style: 'currency', currency: 'EUR', maximumFractionDigits: 0 })
const whole = new Intl.NumberFormat('en')
const dayAndTime = new Intl.DateTimeFormat('en', { day: 'numeric', month: 'long', hour: '2-digit', minute: '2-digit', hourCycle: 'h23' })
const exactTime = new Intl.DateTimeFormat('en', { dateStyle: 'long', timeStyle: 'medium' })

export const count = (number) => whole.format(number)
export const plural = (number, one, many) => `${count(number)} ${number === 1 ? one : many}`
/** Cents as a person writes them. */
export const money = (cents) => amounts.format(cents / 100)

/** The cents in what somebody wrote, or undefined: `12`, `12.5`, `€1,234.50`. */
export function centsIn(text) {
  const match = /^(\d{1,3}(?:,\d{3})+|\d{1,6})(?:\.(\d{1,2}))?$/.exec(text.replace('€', '').trim())
  if (!match) return undefined
  return Number(match[1].replaceAll(',', '')) * 100 + Number((match[2] ?? '').padEnd(2, '0'))
}

export function bandName({ from, to }) {
  if (from === 0) return `Under ${rounded.format((to + 1) / 100)}`
  if (from >= 100_000 || to === Number.POSITIVE_INFINITY) return `${rounded.format(from / 100)} and over`
  return `${rounded.format(from / 100)} to ${rounded.format((to + 1) / 100)}`
}

/** The last part of a category's path. */
export const leafOf = (category) => category.slice(category.indexOf('/') + 1)
export const departmentOf = (category) => category.split('/')[0]

export function time(iso) {
  return h('time', { dateTime: iso, title: exactTime.format(new Date(iso)) }, dayAndTime.format(new Date(iso)))
}

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

/** How much there is of it, in words. */
export function stockLine(stock) {
  const [kind, text] = stock === 0 ? ['none', 'Sold out'] : stock < 5 ? ['few', `Only ${stock} left`] : ['some', 'In stock']
  return h('p', { class: `stock-line ${kind}` }, text)
}
