const shape = /^(\d{4,})-(\d\d)-(\d\d) (\d\d):(\d\d):(\d\d)(?:\.(\d{1,6}))?(?:([+-])(\d\d)(?::(\d\d))?(?::(\d\d))?)?( BC)?$/

/** Nearly all there are: in UTC, with a fraction. */
const usual = /^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{1,6}\+00$/

/**
 * A `timestamp` or `timestamptz` of PostgreSQL's ISO style as ISO 8601 with six digits of seconds; one with an offset is turned to UTC
 * and ends in `Z`. The infinities stay words. A year before Christ keeps its ` BC`, which PostgreSQL reads again. Undefined when the
 * text is in another style.
 */
export function isoTime(text: string): string | undefined {
  if (text === 'infinity' || text === '-infinity') return text
  if (usual.test(text)) return `${text.slice(0, 10)}T${text.slice(11, -3).padEnd(26 - 11, '0')}Z`
  const part = shape.exec(text)
  if (!part) return undefined
  const [, year = '', month = '', day = '', hour = '', minute = '', second = '', fraction = '', sign, ...rest] = part
  const [offsetHour = '0', offsetMinute = '0', offsetSecond = '0', era = ''] = rest
  const micros = fraction.padEnd(6, '0')
  if (sign === undefined) return `${year}-${month}-${day}T${hour}:${minute}:${second}.${micros}${era}`
  const offset = Number(offsetHour) * 3600 + Number(offsetMinute) * 60 + Number(offsetSecond)
  if (offset === 0) return `${year}-${month}-${day}T${hour}:${minute}:${second}.${micros}Z${era}`
  const moment = new Date(0)
  moment.setUTCFullYear(era ? 1 - Number(year) : Number(year), Number(month) - 1, Number(day))
  moment.setUTCHours(Number(hour), Number(minute), Number(second) - (sign === '+' ? offset : -offset))
  return utcText(moment, micros)
}

/** A moment as PostgreSQL reads it, in any year. */
export function utcText(moment: Date, fraction = String(moment.getUTCMilliseconds()).padStart(3, '0')): string {
  const year = moment.getUTCFullYear()
  const shown = String(year > 0 ? year : 1 - year).padStart(4, '0')
  return `${shown}-${moment.toISOString().slice(-19, -5)}.${fraction}Z${year > 0 ? '' : ' BC'}`
}
