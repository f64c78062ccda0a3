import { HandlerError } from '../errors.ts'
import { jsonFault } from '../internal/json.ts'

/** Parts of rows that were found to be plain JSON, and frozen: rows share what an event did not change. */
const sound = new WeakSet<object>()
/** Names of members that were looked at; there are few, and each is in many rows. */
const soundNames = new Set<string>()
const soundNamesMax = 10_000
const depthMax = 64

/**
 * Takes what a handler gave as a row: checks that it is plain JSON, so that it is the same after it was stored, and freezes it.
 * @throws {HandlerError} saying where it is not
 */
export function rowValue(value: unknown): object {
  if (typeof value !== 'object' || value === null || Array.isArray(value) || !isPlain(value)) {
    throw new HandlerError(`the handler returned ${shown(value)}; a row is a plain object (null deletes it, undefined leaves it)`)
  }
  checkMembers(value, [])
  return Object.freeze(value)
}

/** A stored row: JSON already. */
export function storedRow(text: string): object {
  const row = JSON.parse(text) as object
  for (const part of Object.values(row)) freeze(part, sound)
  return Object.freeze(row)
}

/** Freezes plain JSON, unless that was done. */
export function freeze(value: unknown, noted?: WeakSet<object>): void {
  if (typeof value !== 'object' || value === null || Object.isFrozen(value)) return
  for (const name in value) freeze((value as Record<string, unknown>)[name], noted)
  Object.freeze(value)
  noted?.add(value)
}

type Path = (string | number)[]

function check(value: unknown, path: Path): void {
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

function checkObject(value: object, path: Path): void {
  if (sound.has(value)) return
  if (path.length >= depthMax) throw fault(path, `is nested deeper than ${depthMax}`)
  if (Array.isArray(value)) {
    for (let i = 0; i < value.length; i++) within(path, i, value[i])
  } else {
    if (!isPlain(value)) throw fault(path, `is ${shown(value)}, which JSON does not keep as it is; rows hold plain JSON`)
    checkMembers(value, path)
  }
  Object.freeze(value)
  sound.add(value)
}

function checkMembers(value: object, path: Path): void {
  if ('toJSON' in value) throw fault(path, 'has toJSON, so JSON does not keep it as it is')
  for (const name of Object.keys(value)) {
    if (!soundNames.has(name)) checkName(name, path)
    within(path, name, (value as Record<string, unknown>)[name])
  }
  if (Object.getOwnPropertySymbols(value).length > 0) throw fault(path, 'has members under symbols, which JSON leaves out')
}

function checkName(name: string, path: Path): void {
  const found = jsonFault({ [name]: null })
  if (found) throw fault([...path, name], found.message)
  if (soundNames.size < soundNamesMax) soundNames.add(name)
}

function within(path: Path, step: string | number, value: unknown): void {
  path.push(step)
  check(value, path)
  path.pop()
}

function isPlain(value: object): boolean {
  const prototype: unknown = Object.getPrototypeOf(value)
  return prototype === Object.prototype || prototype === null
}

function fault(path: Path, message: string): HandlerError {
  return new HandlerError(`the row${path.length > 0 ? ` at ${path.join('.')}` : ''} ${message}`)
}

function shown(value: unknown): string {
  if (typeof value === 'object' && value !== null) return `a ${value.constructor?.name ?? 'object'}`
  return typeof value === 'function' ? 'a function' : String(value)
}
