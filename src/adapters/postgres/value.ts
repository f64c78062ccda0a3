import { DatabaseError } from '../../index.ts'
import { type ArrayText, readArray } from './array-text.ts'
import { isoTime } from './time-text.ts'

/** Makes a JSON value of PostgreSQL's text. `column` is for the error. */
export type Decoder = (text: string, column: string) => unknown

/** Of what is given as the server's own text. */
export const identity: Decoder = (text) => text

/** The types that are more than their text, by OID of the type and of its array. */
const decoders: readonly (readonly [oid: number, arrayOid: number, Decoder])[] = [
  [16, 1000, (text) => text === 't'],
  [17, 1001, bytes],
  [20, 1016, wholeNumber],
  [21, 1005, Number],
  [23, 1007, Number],
  [26, 1028, Number],
  [114, 199, (text) => JSON.parse(text)],
  [700, 1021, floatingNumber],
  [701, 1022, floatingNumber],
  [1082, 1182, date],
  [1114, 1115, time],
  [1184, 1185, time],
  [3802, 3807, (text) => JSON.parse(text)],
]

/**
 * Arrays whose elements stay text: name, text, bpchar, varchar, char, uuid, numeric, time, timetz, interval, xid, xid8,
 * cidr, inet, macaddr, macaddr8, bit, varbit, xml, regclass, regtype, pg_lsn, pg_snapshot, the ranges, tsvector, tsquery, point.
 */
const textArrays: readonly number[] = [
  1003, 1009, 1014, 1015, 1002, 2951, 1231, 1183, 1270, 1187, 1011, 271, 651, 1041, 1040, 775, 1561, 1563, 143, 2210, 2211, 3221, 5039,
  3905, 3907, 3909, 3911, 3913, 3927, 3643, 3645, 1017,
]

const byOid: ReadonlyMap<number, Decoder> = new Map([
  ...decoders.map(([oid, , decode]): [number, Decoder] => [oid, decode]),
  ...decoders.map(([, arrayOid, decode]): [number, Decoder] => [arrayOid, arrayOf(decode)]),
  ...textArrays.map((oid): [number, Decoder] => [oid, arrayOf(identity)]),
])

/** What turns the text of a type into the value that `Row` promises. */
export function decoderOf(oid: number): Decoder {
  return byOid.get(oid) ?? identity
}

function arrayOf(decode: Decoder): Decoder {
  const all = (items: ArrayText, column: string): readonly unknown[] =>
    items.map((item) => (item === null ? null : typeof item === 'string' ? decode(item, column) : all(item, column)))
  return (text, column) => all(readArray(text), column)
}

function wholeNumber(text: string, column: string): number {
  const value = Number(text)
  if (Number.isSafeInteger(value)) return value
  throw new DatabaseError('22003', `column "${column}": ${text} is beyond what a number can hold exactly; cast it to text in the statement`)
}

function floatingNumber(text: string): number | string {
  const value = Number(text)
  return Number.isFinite(value) ? value : text
}

function time(text: string, column: string): string {
  const value = isoTime(text)
  if (value !== undefined) return value
  throw notIso(text, column)
}

function date(text: string, column: string): string {
  if (/^\d{4,}-\d\d-\d\d( BC)?$|^-?infinity$/.test(text)) return text
  throw notIso(text, column)
}

function notIso(text: string, column: string): DatabaseError {
  return new DatabaseError('22007', `column "${column}": ${text} is not in ISO style; set DateStyle to ISO for this role or database`)
}

function bytes(text: string): string {
  if (text.startsWith('\\x')) return Buffer.from(text.slice(2), 'hex').toString('base64')
  const plain = text.replace(/\\(\\|[0-7]{3})/g, (_all, code: string) =>
    code === '\\' ? code : String.fromCharCode(Number.parseInt(code, 8)),
  )
  return Buffer.from(plain, 'latin1').toString('base64')
}
