import { UsageError } from '../errors.ts'
import type { Role } from './app.ts'

/** What a process does unless it is told otherwise. */
export const allRoles: readonly Role[] = ['commands', 'projections', 'queries']

/** @throws {UsageError} none, or one that is none */
export function checkedRoles(roles: readonly Role[]): ReadonlySet<Role> {
  const odd = roles.find((role) => !allRoles.includes(role))
  if (odd === undefined && roles.length > 0) return new Set(roles)
  throw new UsageError(`start(): "roles" holds some of ${allRoles.join(', ')}${odd === undefined ? '' : `; ${String(odd)} is none`}`)
}

/** @throws {UsageError} the process was not started for this */
export function mustHave(roles: ReadonlySet<Role>, role: Role, what: string): void {
  if (roles.has(role)) return
  throw new UsageError(`${what}() was called in a process without the role ${role}; its roles are: ${[...roles].join(', ')}`)
}
