import { UsageError } from '../errors.ts'
import { looseType } from '../read-model/stored-table.ts'

/**
 * A value for a column as rows deliver it, of whatever PostgreSQL would take for it: `5` and `'5'` are one int, a `Date` and any ISO text of the same
 * moment one timestamptz. What it does not know is left as it is.
 * @throws {UsageError} what is no value of the type
 */
export function columnValue(type: string, value: unknown): unknown {
  if (value === null || value === undefined) return value
  const read = readers[looseType(type)]
  const found = read ? read(value) : value
  if (found === undefined) throw new UsageError(`${shown(value)} is no ${type}`)
  return found
}

/** The text of a value in a key, the same that PostgreSQL writes. `value` is as rows deliver it. */
export function columnText(type: string, value: unknown): string {
  const text = String(value)
  const loose = looseType(type)
  if (loose === 'numeric') return trimmed(text)
  if (loose !== 'timestamp with time zone' && loose !== 'timestamp without time zone') return text
  const [, day, time, fraction = '', zone] = /^(.*)T(\d\d:\d\d:\d\d)(\.\d+)?(Z)?$/.exec(text) ?? []
  if (day === undefined) return text
  return `${day} ${time}${fraction.replace(/\.?0+$/, '')}${zone ? '+00' : ''}`
}

/** A value by which rows are ordered like by the column itself. */
export function sortValue(type: string, value: unknown): unknown {
  if (typeof value !== 'string') return value
  const loose = looseType(type)
  if (loose === 'numeric') return numericOrder(value)
  return loose === 'bpchar' ? value.trimEnd() : value
}

/** Types whose equal values have one text, so that a store can know keys by it. */
export function isKeyType(type: string): boolean {
  return Object.hasOwn(readers, looseType(type))
}

type Reader = (value: unknown) => unknown

const text: Reader = (value) => (typeof value === 'string' ? value : undefined)

const whole: Reader = (value) => {
  if (typeof value === 'number') return Number.isSafeInteger(value) ? value || 0 : undefined
  if (typeof value === 'bigint') return whole(String(value))
  if (typeof value !== 'string' || !/^\s*[+-]?\d+\s*$/.test(value)) return undefined
  return Number.isSafeInteger(Number(value)) ? Number(value) || 0 : undefined
}

const uuid: Reader = (value) => {
  if (typeof value !== 'string') return undefined
  const digits = value
    .replace(/^\{(.*)\}$/, '$1')
    .replaceAll('-', '')
    .toLowerCase()
  return /^[0-9a-f]{32}$/.test(digits) ? digits.replace(/^(.{8})(.{4})(.{4})(.{4})/, '$1-$2-$3-$4-') : undefined
}

const boolean: Reader = (value) => {
  if (typeof value === 'boolean') return value
  if (value === 'true' || value === 't') return true
  return value === 'false' || value === 'f' ? false : undefined
}

const numeric: Reader = (value) => {
  if (typeof value === 'bigint') return String(value)
  if (typeof value === 'number') return plain(value)
  if (typeof value !== 'string') return undefined
  if (/^(NaN|-?Infinity)$/.test(value)) return value
  return /^\s*[+-]?(\d+\.?\d*|\.\d+)\s*$/.test(value) ? value.trim() : undefined
}

/** A number without an exponent. */
function plain(value: number): string {
  if (!Number.isFinite(value) || !/e/.test(String(value))) return String(value)
  const [digits = '', exponent = '0'] = Math.abs(value).toExponential().split('e')
  const [first = '0', rest = ''] = digits.split('.')
  const places = Number(exponent)
  const sign = value < 0 ? '-' : ''
  if (places < 0) return `${sign}0.${'0'.repeat(-places - 1)}${first}${rest}`
  return `${sign}${first}${rest.padEnd(places, '0')}`
}

const date: Reader = (value) => {
  if (value instanceof Date) return value.toISOString().slice(0, 10)
  return typeof value === 'string' && /^(\d{4,}-\d\d-\d\d( BC)?|-?infinity)$/.test(value) ? value : undefined
}

const moment = /^(\d{4,}-\d\d-\d\d)[T ](\d\d:\d\d(?::\d\d)?)(?:\.(\d{1,6}))?\s*(Z|[+-]\d\d(?::?\d\d)?)?$/i

const timestamp: Reader = (value) => {
  if (value instanceof Date) return Number.isNaN(value.getTime()) ? undefined : value.toISOString().replace('Z', '000')
  if (typeof value !== 'string') return undefined
  if (/^-?infinity$/.test(value) || / BC$/.test(value)) return value
  const [, day, time = '', fraction = ''] = moment.exec(value) ?? []
  return day === undefined ? undefined : `${day}T${time.padEnd(8, ':00')}.${fraction.padEnd(6, '0')}`
}

const timestamptz: Reader = (value) => {
  if (value instanceof Date) return Number.isNaN(value.getTime()) ? undefined : value.toISOString().replace('Z', '000Z')
  if (typeof value !== 'string') return undefined
  if (/^-?infinity$/.test(value) || / BC$/.test(value)) return value
  const [, day, time = '', fraction = '', zone] = moment.exec(value) ?? []
  if (day === undefined || zone === undefined) return undefined
  const offset = /^[+-]\d\d$/.test(zone) ? `${zone}:00` : zone.replace(/^([+-]\d\d)(\d\d)$/, '$1:$2').toUpperCase()
  const seconds = new Date(`${day}T${time.padEnd(8, ':00')}${offset}`)
  if (Number.isNaN(seconds.getTime())) return undefined
  return seconds.toISOString().replace('.000Z', `.${fraction.padEnd(6, '0')}Z`)
}

const readers: Readonly<Record<string, Reader>> = {
  text,
  'character varying': text,
  bpchar: (value) => (typeof value === 'string' ? value.replace(/ +$/, '') : undefined),
  uuid,
  smallint: whole,
  integer: whole,
  bigint: whole,
  boolean,
  numeric,
  date,
  'timestamp without time zone': timestamp,
  'timestamp with time zone': timestamptz,
}

/** Without zeros that say nothing, as trim_scale() does. */
function trimmed(value: string): string {
  if (/^(NaN|-?Infinity)$/.test(value)) return value
  const [, sign = '', digits = '', fraction = ''] = /^([+-]?)0*(\d*)\.?(\d*)$/.exec(value) ?? []
  const places = fraction.replace(/0+$/, '')
  const number = `${digits || '0'}${places ? `.${places}` : ''}`
  return sign === '-' && number !== '0' ? `-${number}` : number
}

const exponentBias = 200_000

/** Texts that sort as the numbers do: by sign, by how many digits stand before the point, by digits. */
function numericOrder(value: string): string {
  if (value === 'NaN') return '9'
  if (value === 'Infinity') return '8'
  if (value === '-Infinity') return '0'
  const plainText = trimmed(value)
  const isNegative = plainText.startsWith('-')
  const [before = '', fraction = ''] = plainText.replace('-', '').split('.')
  const all = before === '0' ? fraction : before + fraction
  const digits = all.replace(/^0+/, '').replace(/0+$/, '')
  if (digits === '') return '5'
  const exponent = (before === '0' ? -(all.length - all.replace(/^0+/, '').length) : before.length) + exponentBias
  if (!isNegative) return `6${String(exponent).padStart(6, '0')}${digits}`
  const turned = [...digits].map((digit) => String(9 - Number(digit))).join('')
  return `4${String(999_999 - exponent).padStart(6, '0')}${turned}~`
}

function shown(value: unknown): string {
  return typeof value === 'object' ? (JSON.stringify(value) ?? 'an object').slice(0, 100) : String(value).slice(0, 100)
}
