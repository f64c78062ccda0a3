const shape =
  /^(\d{4,})-(0[1-9]|1[0-2])-([0-2]\d|3[01])(?:[T ]([0-2]\d:[0-5]\d(?::\d\d)?)(?:\.(\d{1,6}))?\s*(Z|[+-]\d\d(?::?\d\d)?)?)?( BC)?$/i
const infinities = /^-?infinity$/

/** A date as rows deliver it; undefined: the value is none. */
export function dateValue(value: unknown): string | undefined {
  if (value instanceof Date) return dayOf(value)
  if (typeof value !== 'string') return undefined
  return infinities.test(value) || /^\d{4,}-\d\d-\d\d( BC)?$/.test(value) ? value : undefined
}

/** A moment without a time zone as rows deliver it; a zone that is given is left out of account, as PostgreSQL does. */
export function timestampValue(value: unknown): string | undefined {
  return momentValue(value, false)
}

/** A moment as rows deliver it, in UTC; a text must say its zone. */
export function timestamptzValue(value: unknown): string | undefined {
  return momentValue(value, true)
}

function momentValue(value: unknown, isZoned: boolean): string | undefined {
  if (value instanceof Date) return Number.isNaN(value.getTime()) ? undefined : momentText(value, msDigits(value), isZoned)
  if (typeof value !== 'string') return undefined
  if (infinities.test(value)) return value
  const [, year = '', month, day, time, fraction = '', zone, era = ''] = shape.exec(value) ?? []
  if (time === undefined || (isZoned && zone === undefined)) return undefined
  const micros = fraction.padEnd(6, '0')
  const clock = time.padEnd(8, ':00')
  const offset = isZoned ? minutesOf(zone ?? 'Z') : 0
  if (offset === 0) return `${year}-${month}-${day}T${clock}.${micros}${isZoned ? 'Z' : ''}${era.toUpperCase()}`
  const moment = new Date(0)
  moment.setUTCFullYear(era ? 1 - Number(year) : Number(year), Number(month) - 1, Number(day))
  const [hours = 0, minutes = 0, seconds = 0] = clock.split(':').map(Number)
  moment.setUTCHours(hours, minutes - offset, seconds)
  return Number.isNaN(moment.getTime()) ? undefined : momentText(moment, micros, true)
}

function minutesOf(zone: string): number {
  if (/^z$/i.test(zone)) return 0
  const [, sign, hours, minutes = '0'] = /^([+-])(\d\d):?(\d\d)?$/.exec(zone) ?? []
  return (sign === '-' ? -1 : 1) * (Number(hours) * 60 + Number(minutes))
}

function msDigits(moment: Date): string {
  return `${String(moment.getUTCMilliseconds()).padStart(3, '0')}000`
}

/** Years before Christ are counted from 1 and end in ` BC`. */
function momentText(moment: Date, micros: string, isZoned: boolean): string {
  const [day = '', era] = (dayOf(moment) ?? '').split(' ')
  return `${day}T${moment.toISOString().slice(-13, -5)}.${micros}${isZoned ? 'Z' : ''}${era ? ` ${era}` : ''}`
}

function dayOf(moment: Date): string | undefined {
  if (Number.isNaN(moment.getTime())) return undefined
  const year = moment.getUTCFullYear()
  const shown = String(year > 0 ? year : 1 - year).padStart(4, '0')
  return `${shown}-${moment.toISOString().slice(-19, -14)}${year > 0 ? '' : ' BC'}`
}

const yearMax = 9_999_999

/** A text that sorts as the date or moment does: by era and year, whatever their digits, and the infinities at the ends. */
export function timeOrder(value: string): string {
  if (infinities.test(value)) return value.startsWith('-') ? '0' : '3'
  const [, year = '', rest = '', era] = /^(\d+)(.*?)( BC)?$/.exec(value) ?? []
  if (era) return `1${String(yearMax - Number(year)).padStart(7, '0')}${rest}`
  return `2${year.padStart(7, '0')}${rest}`
}
