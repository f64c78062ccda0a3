import { InvalidInputError, UsageError } from '../../index.ts'
import { jsonFault } from '../../internal/json.ts'
import { type ArrayText, writeArray } from './array-text.ts'
import { utcText } from './time-text.ts'

/**
 * The text that PostgreSQL gets for each parameter; its type is what the statement makes of it. Throws `UsageError` for a value that
 * cannot be one (`undefined`, a function, an invalid date), and `InvalidInputError` for text that no database here can keep.
 */
export function parameterTexts(values: readonly unknown[]): readonly (string | null)[] {
  return values.map((value, i) => text(value, `$${i + 1}`))
}

/** `index`: in an array of that name. */
function text(value: unknown, array: string, index?: number): string | null {
  if (value === null) return null
  switch (typeof value) {
    case 'string':
      return sound(value, array, index)
    case 'number':
      return Object.is(value, -0) ? '-0' : String(value)
    case 'boolean':
    case 'bigint':
      return String(value)
    case 'object':
      return objectText(value, nameOf(array, index))
    case 'undefined':
      throw new UsageError(`parameter ${nameOf(array, index)} is undefined; pass null for SQL NULL`)
    default:
      throw new UsageError(`parameter ${nameOf(array, index)} is a ${typeof value}, which is no SQL value`)
  }
}

function nameOf(array: string, index: number | undefined): string {
  return index === undefined ? array : `${array}[${index}]`
}

function objectText(value: object, name: string): string {
  if (Array.isArray(value)) return writeArray(items(value, name))
  if (value instanceof Date) {
    if (Number.isNaN(value.getTime())) throw new UsageError(`parameter ${name} is an invalid date`)
    return utcText(value)
  }
  if (value instanceof Uint8Array) return `\\x${Buffer.from(value.buffer, value.byteOffset, value.byteLength).toString('hex')}`
  if (isPlain(value) || 'toJSON' in value) return jsonText(value, name)
  throw new UsageError(`parameter ${name} is a ${value.constructor?.name ?? 'class instance'}; pass a plain object for JSON, or its text`)
}

function items(values: readonly unknown[], name: string): ArrayText {
  return Array.from(values, (value, i) => (Array.isArray(value) ? items(value, nameOf(name, i)) : text(value, name, i)))
}

function jsonText(value: object, name: string): string {
  try {
    return JSON.stringify(value)
  } catch (error) {
    throw new UsageError(`parameter ${name} cannot be written as JSON`, { cause: error })
  }
}

function isPlain(value: object): boolean {
  const prototype: unknown = Object.getPrototypeOf(value)
  return prototype === null || Object.getPrototypeOf(prototype) === null
}

/** PostgreSQL cannot keep U+0000, and half a surrogate pair would be stored as another character without a word. */
function sound(value: string, array: string, index: number | undefined): string {
  const fault = jsonFault(value)
  if (fault) throw new InvalidInputError(`parameter ${nameOf(array, index)}`, [fault])
  return value
}
