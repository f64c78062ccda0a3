import { Rejection, UsageError } from '../errors.ts'
import { jsonFault } from '../internal/json.ts'

type Path = readonly (string | number)[]

/**
 * What JSON gives back of `value`: dates become text, undefined members go. So the first answer of a command and its recorded one
 * are equal. What JSON would change without a word (a Map, NaN) or cannot hold (a bigint, a function, a circle) is refused.
 * @throws {UsageError} naming `subject` and the place
 */
export function plainJson(subject: string, value: unknown): unknown {
  const plain = copy(subject, value, [], new Set())
  const fault = jsonFault(plain)
  if (fault) throw notJson(subject, fault.path, fault.message)
  return plain
}

/** A refusal whose details are plain JSON, so that it is the same when it is answered again. */
export function plainRejection(command: string, rejection: Rejection): Rejection {
  const { code, details } = plainJson(`${command}: the refusal`, { code: rejection.code, details: rejection.details }) as Rejection
  const plain = new Rejection(code, details)
  if (rejection.stack !== undefined) plain.stack = rejection.stack
  return plain
}

function copy(subject: string, value: unknown, path: Path, above: Set<object>): unknown {
  if (value === null || value === undefined || typeof value === 'string' || typeof value === 'boolean') return value
  if (typeof value === 'number' && Number.isFinite(value)) return value
  if (typeof value !== 'object') throw notJson(subject, path, `a ${typeof value}${typeof value === 'number' ? ` (${value})` : ''}`)
  if (above.has(value)) throw notJson(subject, path, 'a circle')
  above.add(value)
  const plain = copyObject(subject, value, path, above)
  above.delete(value)
  return plain
}

function copyObject(subject: string, value: object, path: Path, above: Set<object>): unknown {
  if ('toJSON' in value && typeof value.toJSON === 'function') return copy(subject, value.toJSON(path.at(-1) ?? ''), path, above)
  if (Array.isArray(value)) return value.map((item, i) => copy(subject, item, [...path, i], above) ?? null)
  const kind = Object.prototype.toString.call(value).slice(8, -1)
  if (kind !== 'Object') throw notJson(subject, path, `of kind ${kind}`)
  const members = Object.entries(value).filter(([, item]) => item !== undefined)
  return Object.fromEntries(members.map(([key, item]) => [key, copy(subject, item, [...path, key], above)]))
}

function notJson(subject: string, path: Path, what: string): UsageError {
  return new UsageError(`${subject} is not plain JSON${path.length ? ` at ${path.join('.')}` : ''}: ${what}`, { details: { path } })
}
