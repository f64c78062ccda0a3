import { UsageError } from '../errors.ts'
import { canonicalJson, jsonFault } from '../internal/json.ts'

/** The key of a projection's row: a text, or several values by name. */
export type KeyValue = string | Readonly<Record<string, string | number>>

const bytesMax = 1024

/** Greater than every key: the last character there is has four bytes. */
export const afterKeys = '\u{10ffff}'.repeat(bytesMax / 4 + 1)

/**
 * A key as stores keep it: a text as it is, a composite key as JSON with its members in order.
 * @throws {UsageError} what can be no key: empty, too long, not a text nor an object of texts and numbers
 */
export function keyText(key: unknown): string {
  const text = typeof key === 'string' ? key : composite(key)
  if (text === '') throw new UsageError('the key is empty')
  const fault = jsonFault(text)
  if (fault) throw new UsageError(`the key ${fault.message}`)
  // A UTF-16 unit has at most three bytes.
  if (text.length > bytesMax / 3 && Buffer.byteLength(text) > bytesMax) throw new UsageError(`the key is longer than ${bytesMax} bytes`)
  return text
}

/** The key that a text stands for. */
export function keyOf(text: string): KeyValue {
  if (!text.startsWith('{')) return text
  try {
    const found: unknown = JSON.parse(text)
    return isComposite(found) && canonicalJson(found) === text ? found : text
  } catch {
    return text
  }
}

function composite(key: unknown): string {
  if (isComposite(key)) return canonicalJson(key)
  throw new UsageError(`${shown(key)} can be no key; a key is a text, or an object of texts and numbers`)
}

function isComposite(key: unknown): key is Readonly<Record<string, string | number>> {
  if (typeof key !== 'object' || key === null || Array.isArray(key)) return false
  const values: unknown[] = Object.values(key)
  return values.length > 0 && values.every((value) => typeof value === 'string' || (typeof value === 'number' && Number.isFinite(value)))
}

function shown(key: unknown): string {
  return key === undefined ? 'undefined' : typeof key === 'object' ? (JSON.stringify(key) ?? 'an object').slice(0, 100) : String(key)
}
