import { looseType } from '../read-model/stored-table.ts'
import { trimmed } from './column-value.ts'
import { timeOrder } from './time-value.ts'

/** A part of the fingerprint of views in stores: other texts in their indexes are another version. */
export const sortFormat = 2

/** A value by which rows are ordered like by the column itself. `value` is as rows deliver it. */
export function sortValue(type: string, value: unknown): unknown {
  if (value === null || value === undefined) return value
  const sort = sorts[looseType(type)]
  return sort ? sort(value) : value
}

/** Those whose values, as rows deliver them, do not sort by themselves as PostgreSQL sorts the column. */
const sorts: Readonly<Record<string, (value: unknown) => unknown>> = {
  numeric: (value) => numericOrder(String(value)),
  bpchar: (value) => String(value).replace(/ +$/, ''),
  real: (value) => Math.fround(floating(value)),
  'double precision': floating,
  bytea: (value) => Buffer.from(String(value), 'base64').toString('hex'),
  date: (value) => timeOrder(String(value)),
  'timestamp without time zone': (value) => timeOrder(String(value)),
  'timestamp with time zone': (value) => timeOrder(String(value)),
}

/** Infinities sort at the ends, and NaN, of which there are several, above all. */
function floating(value: unknown): number {
  const number = Number(value)
  return Number.isNaN(number) ? Number.NaN : number
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
