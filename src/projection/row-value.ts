import { HandlerError } from '../errors.ts'
import { jsonFault } from '../internal/json.ts'

/** Objects that were found to be plain JSON, and frozen: rows share what an event did not change. */
const sound = new WeakSet<object>()

/**
 * Takes what a handler gave as a row: checks that it is plain JSON, so that it is the same after it was stored, and freezes it.
 * @throws {HandlerError} saying where it is not
 */
export function rowValue(value: unknown): object {
  if (typeof value !== 'object' || value === null || Array.isArray(value) || !isPlain(value)) {
    throw new HandlerError(`the handler returned ${shown(value)}; a row is a plain object (null deletes it, undefined leaves it)`)
  }
  check(value, [])
  return value
}

/** A stored row: JSON already. */
export function storedRow(text: string): object {
  const row = JSON.parse(text) as object
  freeze(row)
  return row
}

function check(value: unknown, path: readonly (string | number)[]): void {
  switch (typeof value) {
    case 'boolean':
      return
    case 'number':
      if (!Number.isFinite(value)) throw fault(path, `is ${value}, which JSON cannot hold`)
      if (Object.is(value, -0)) throw fault(path, 'is -0, which JSON turns into 0')
      return
    case 'string': {
      const found = jsonFault(value)
      if (found) throw fault(path, found.message)
      return
    }
    case 'object':
      if (value !== null) checkObject(value, path)
      return
    default:
      throw fault(path, `is ${shown(value)}${value === undefined ? '; leave the member out, or give null' : ', which JSON cannot hold'}`)
  }
}

function checkObject(value: object, path: readonly (string | number)[]): void {
  if (sound.has(value)) return
  if (path.length >= 64) throw fault(path, 'is nested deeper than 64')
  if (Array.isArray(value)) {
    for (let i = 0; i < value.length; i++) check(value[i], [...path, i])
  } else {
    if (!isPlain(value)) throw fault(path, `is ${shown(value)}, which JSON does not keep as it is; rows hold plain JSON`)
    if ('toJSON' in value) throw fault(path, 'has toJSON, so JSON does not keep it as it is')
    for (const key of Object.keys(value)) {
      const found = jsonFault({ [key]: null })
      if (found) throw fault([...path, key], found.message)
      check((value as Record<string, unknown>)[key], [...path, key])
    }
    if (Object.getOwnPropertySymbols(value).length > 0) throw fault(path, 'has members under symbols, which JSON leaves out')
  }
  Object.freeze(value)
  sound.add(value)
}

/** Freezes plain JSON, unless that was done. */
export function freeze(value: unknown): void {
  if (typeof value !== 'object' || value === null || Object.isFrozen(value)) return
  for (const item of Object.values(value)) freeze(item)
  Object.freeze(value)
  sound.add(value)
}

function isPlain(value: object): boolean {
  const prototype: unknown = Object.getPrototypeOf(value)
  return prototype === Object.prototype || prototype === null
}

function fault(path: readonly (string | number)[], message: string): HandlerError {
  return new HandlerError(`the row${path.length > 0 ? ` at ${path.join('.')}` : ''} ${message}`)
}

function shown(value: unknown): string {
  if (typeof value === 'object' && value !== null) return `a ${value.constructor?.name ?? 'object'}`
  return typeof value === 'function' ? 'a function' : String(value)
}
