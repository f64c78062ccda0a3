import { type JsonFault, jsonFault } from '../internal/json.ts'

/** What JSON gives back of a value, or the first place where it would give back something else. */
export type PlainData = { readonly value: unknown; readonly fault?: undefined } | { readonly fault: JsonFault }

const depthMax = 64

/**
 * A copy of `value` that is what JSON gives back of it: undefined members go. What JSON would change without a word (dates, class instances, NaN, an
 * undefined item) or cannot keep is a fault, because code would see one thing before it is stored and another one after.
 */
export function plainData(value: unknown): PlainData {
  try {
    const copied = copy(value, [])
    const fault = jsonFault(copied)
    return fault ? { fault } : { value: copied }
  } catch (error) {
    if (error instanceof NotPlain) return { fault: { path: error.path, message: error.message } }
    throw error
  }
}

class NotPlain extends Error {
  readonly path: readonly (string | number)[]

  constructor(path: readonly (string | number)[], what: string) {
    super(`is ${what}, which JSON would not give back; keep plain values`)
    this.path = path
  }
}

/** `path` is one array for the whole walk: on the way of every event, so it makes nothing that it need not. */
function copy(value: unknown, path: (string | number)[]): unknown {
  if (value === null || typeof value === 'string' || typeof value === 'boolean') return value
  if (typeof value === 'number') {
    if (!Number.isFinite(value)) throw new NotPlain([...path], String(value))
    return value === 0 ? 0 : value
  }
  if (typeof value !== 'object') throw new NotPlain([...path], typeof value === 'undefined' ? 'undefined' : `a ${typeof value}`)
  if (path.length > depthMax) throw new NotPlain([...path], `nested deeper than ${depthMax}`)
  if (Array.isArray(value)) return value.map((item: unknown, i) => inside(item, i, path))
  return copyObject(value, path)
}

function copyObject(value: object, path: (string | number)[]): unknown {
  const prototype: unknown = Object.getPrototypeOf(value)
  if (prototype !== Object.prototype && prototype !== null) {
    throw new NotPlain([...path], `a ${Object.prototype.toString.call(value).slice(8, -1)} of class ${value.constructor?.name ?? '?'}`)
  }
  const copied: Record<string, unknown> = {}
  for (const [key, item] of Object.entries(value)) {
    // Assigning to it would change the prototype; `jsonFault` never saw it then.
    if (key === '__proto__') throw new NotPlain([...path, key], 'a key that changes prototypes')
    if (item !== undefined) copied[key] = inside(item, key, path)
  }
  return copied
}

function inside(item: unknown, key: string | number, path: (string | number)[]): unknown {
  path.push(key)
  const copied = copy(item, path)
  path.pop()
  return copied
}
