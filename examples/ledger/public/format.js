import { h } from './dom.js'

const amounts = new Intl.NumberFormat('en', { minimumFractionDigits: 2, maximumFractionDigits: 2 })
const whole = new Intl.NumberFormat('en')
const dayAndTime = new Intl.DateTimeFormat('en', { day: 'numeric', month: 'short', hour: '2-digit', minute: '2-digit', hourCycle: 'h23' })
const exactTime = new Intl.DateTimeFormat('en', { dateStyle: 'long', timeStyle: 'medium' })
const monthAndYear = new Intl.DateTimeFormat('en', { month: 'long', year: 'numeric', timeZone: 'UTC' })

export const count = (number) => whole.format(number)
export const plural = (number, one, many) => `${count(number)} ${number === 1 ? one : many}`
/** Cents as a person writes them. */
export const money = (cents) => amounts.format(cents / 100)
export const monthName = (month) => monthAndYear.format(new Date(`${month}-15T00:00:00Z`))
export const longTime = (iso) => exactTime.format(new Date(iso))
/** The month it is, as the ledger counts months: in UTC. */
export const thisMonth = () => new Date().toISOString().slice(0, 7)

/** The cents in what somebody wrote, or undefined: `12`, `12.5`, `1,234.50`. */
export function centsIn(text) {
  const match = /^(\d{1,3}(?:,\d{3})+|\d{1,10})(?:\.(\d{1,2}))?$/.exec(text.trim())
  if (!match) return undefined
  const cents = Number(match[1].replaceAll(',', '')) * 100 + Number((match[2] ?? '').padEnd(2, '0'))
  return cents > 0 ? cents : undefined
}

export function monthBeside(month, step) {
  const [year, number] = month.split('-').map(Number)
  return new Date(Date.UTC(year, number - 1 + step, 15)).toISOString().slice(0, 7)
}

export function time(iso) {
  return h('time', { dateTime: iso, title: longTime(iso) }, dayAndTime.format(new Date(iso)))
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
