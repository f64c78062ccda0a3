import { UsageError } from '../errors.ts'
import type { Role, StartOptions } from './app.ts'

/** What a process does unless it is told otherwise. */
export const allRoles: readonly Role[] = ['commands', 'projections', 'queries']

/**
 * The roles of a process, from what `start()` was given: all where it names none. A process that does nothing is nobody's wish, so whatever else is no list
 * of roles is refused.
 * @throws {UsageError} what was given is no options, or no list of roles, or an empty one, or holds what is no role
 */
export function checkedRoles(options: StartOptions | undefined): ReadonlySet<Role> {
  const given: unknown = options
  if (given === undefined) return new Set(allRoles)
  if (typeof given !== 'object' || given === null || Array.isArray(given))
    throw new UsageError(`start(): takes options, such as { roles: ['queries'] }; ${told(given)} is none`)
  const roles: unknown = 'roles' in given ? given.roles : undefined
  if (roles === undefined) return new Set(allRoles)
  const allowed = `start(): "roles" is a list of some of ${allRoles.join(', ')}`
  if (!Array.isArray(roles)) throw new UsageError(`${allowed}; ${told(roles)} is no list`)
  if (roles.length === 0) throw new UsageError(`${allowed}; this one is empty`)
  // Holes are looked at too.
  const odd = Array.from<unknown>(roles).filter((role) => !isRole(role))
  if (odd.length > 0) throw new UsageError(`${allowed}; ${odd.map(told).join(', ')} is none`)
  return new Set(roles.filter(isRole))
}

/** @throws {UsageError} the process was not started for this */
export function mustHave(roles: ReadonlySet<Role>, role: Role, what: string): void {
  if (roles.has(role)) return
  throw new UsageError(`${what}() was called in a process without the role ${role}; its roles are: ${[...roles].join(', ')}`)
}

function isRole(value: unknown): value is Role {
  return (allRoles as readonly unknown[]).includes(value)
}

function told(value: unknown): string {
  if (typeof value === 'string') return JSON.stringify(value)
  if (Array.isArray(value)) return 'a list'
  return typeof value === 'object' && value !== null ? 'an object' : String(value)
}
