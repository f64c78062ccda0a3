import { UsageError } from '../errors.ts'
import { looseType } from '../read-model/stored-table.ts'
import { dateValue, timestamptzValue, timestampValue } from './time-value.ts'

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
  const [, day, time, fraction = '', zone, era = ''] = /^(.*)T(\d\d:\d\d:\d\d)(\.\d+)?(Z)?( BC)?$/.exec(text) ?? []
  if (day === undefined) return text
  return `${day} ${time}${fraction.replace(/\.?0+$/, '')}${zone ? '+00' : ''}${era}`
}

/** Types whose equal values have one text, so that a store can know keys by it. */
export function isKeyType(type: string): boolean {
  return keyTypes.has(looseType(type))
}

/** Types that a store orders as PostgreSQL does. */
export function isOrderedType(type: string): boolean {
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

/** Rows show what JSON has no number for as text. */
const float =
  (round: (value: number) => number): Reader =>
  (value) => {
    const isText = typeof value === 'string' && /^\s*([+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?|NaN|[+-]?Infinity)\s*$/i.test(value)
    if (typeof value !== 'number' && typeof value !== 'bigint' && !isText) return undefined
    const words = String(value).trim().toLowerCase()
    const number = words === 'nan' ? Number.NaN : Number(words.replace('infinity', 'Infinity'))
    if (Number.isFinite(number)) return Number.isFinite(round(number)) ? number : undefined
    return String(number)
  }

const bytes: Reader = (value) => {
  if (value instanceof Uint8Array) return Buffer.from(value).toString('base64')
  return typeof value === 'string' ? Buffer.from(value, 'base64').toString('base64') : undefined
}

const time: Reader = (value) => {
  if (typeof value !== 'string') return undefined
  const [, clock = '', fraction = ''] = /^([0-2]\d:[0-5]\d(?::\d\d)?)(\.\d{1,6})?$/.exec(value) ?? []
  return clock === '' ? undefined : `${clock.padEnd(8, ':00')}${fraction.replace(/\.?0+$/, '')}`
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
  date: dateValue,
  'timestamp without time zone': timestampValue,
  'timestamp with time zone': timestamptzValue,
  name: text,
  oid: whole,
  real: float(Math.fround),
  'double precision': float((value) => value),
  bytea: bytes,
  'time without time zone': time,
  '"bit"': text,
  'bit varying': text,
}

/** Not those whose equal values differ in their text, such as 0 and -0. */
const keyTypes: ReadonlySet<string> = new Set([
  ...['text', 'character varying', 'bpchar', 'uuid', 'smallint', 'integer', 'bigint', 'boolean', 'numeric'],
  ...['date', 'timestamp without time zone', 'timestamp with time zone'],
])

/** Without zeros that say nothing, as trim_scale() does. */
export function trimmed(value: string): string {
  if (/^(NaN|-?Infinity)$/.test(value)) return value
  const [, sign = '', digits = '', fraction = ''] = /^([+-]?)0*(\d*)\.?(\d*)$/.exec(value) ?? []
  const places = fraction.replace(/0+$/, '')
  const number = `${digits || '0'}${places ? `.${places}` : ''}`
  return sign === '-' && number !== '0' ? `-${number}` : number
}

function shown(value: unknown): string {
  return typeof value === 'object' ? (JSON.stringify(value) ?? 'an object').slice(0, 100) : String(value).slice(0, 100)
}
