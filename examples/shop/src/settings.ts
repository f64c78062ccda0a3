import { parseArgs } from 'node:util'

export const roles = ['commands', 'projections', 'queries'] as const
/** A part of the application that a process can be started as. */
export type Role = (typeof roles)[number]

/** What the process was started with: arguments first, then the environment. */
export interface Settings {
  /** What this process does; all of it unless told otherwise. */
  readonly roles: readonly Role[]
  readonly port: number
  /** Whether `port` was asked for: one that was not may be exchanged when it is taken. */
  readonly isPortAsked: boolean
  readonly seed: boolean
  /** Whether to hold a flash sale instead of opening the shop. */
  readonly load: boolean
  /** Where a process with the other role is, for what this one does not do itself; undefined: nowhere. */
  readonly commandsUrl: string | undefined
  readonly queriesUrl: string | undefined
}

const ports: Readonly<Record<Role, number>> = { commands: 4002, queries: 4003, projections: 4004 }

/** @throws {Error} for a setting that cannot be, saying which */
export function readSettings(args: readonly string[], environment: NodeJS.ProcessEnv): Settings {
  const { values } = parseArgs({ args: [...args], options: { role: { type: 'string', multiple: true }, load: { type: 'boolean' } } })
  const asked = [...new Set((values.role ?? []).flatMap((list) => list.split(',')))].map(roleOf)
  if (asked.length > 0 && !environment.DATABASE_URL) {
    throw new Error(
      '--role needs DATABASE_URL: a process that is only a part shares its database with the others, and PGlite is in one process',
    )
  }
  const [only] = asked.length === 1 ? asked : []
  return {
    roles: asked.length > 0 ? asked : roles,
    port: Number(environment.PORT || (only ? ports[only] : 4002)),
    isPortAsked: Boolean(environment.PORT),
    seed: environment.SEED !== 'none',
    load: values.load === true,
    commandsUrl: (environment.COMMANDS_URL ?? `http://127.0.0.1:${ports.commands}`) || undefined,
    queriesUrl: (environment.QUERIES_URL ?? `http://127.0.0.1:${ports.queries}`) || undefined,
  }
}

function roleOf(text: string): Role {
  const role = roles.find((name) => name === text)
  if (!role) throw new Error(`--role ${text}: there is ${roles.join(', ')}`)
  return role
}
