import { accessSync, constants, existsSync, statSync } from 'node:fs'
import { dirname, resolve } from 'node:path'
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
  /** Whether to remove everything of the shop instead of opening it. */
  readonly reset: boolean
  /** Where a process with the other role is, for what this one does not do itself; undefined: nowhere. */
  readonly commandsUrl: string | undefined
  readonly queriesUrl: string | undefined
  /** Undefined: PGlite, in the directory. */
  readonly databaseUrl: string | undefined
  readonly dataDirectory: string
}

const ports: Readonly<Record<Role, number>> = { commands: 4002, queries: 4003, projections: 4004 }

const usage = `usage: node examples/shop/dist/main.js [--role commands|projections|queries]... [--load] [--reset]

  --role    start only that part; needs DATABASE_URL
  --load    hold a flash sale, add up, and end
  --reset   remove everything of the shop, in every store, and end
  --help    say this

Settings: PORT, DATABASE_URL, MONGODB_URL, REDIS_URL, REDIS_PREFIX, DATA_DIR, SEED=none, COMMANDS_URL, QUERIES_URL; examples/shop/README.md tells of each.`

/** A setting that cannot be; the message says which. */
export class SettingsError extends Error {}

/** What this process was started with. Where that cannot be it says what is wrong and ends the process with exit code 2; `--help` ends it too. */
export function settingsOfProcess(): Settings {
  const args = process.argv.slice(2)
  if (args.includes('--help')) {
    console.log(usage)
    process.exit(0)
  }
  try {
    return readSettings(args, process.env)
  } catch (error) {
    if (!(error instanceof SettingsError)) throw error
    console.error(`${error.message}\n\n${usage}`)
    process.exit(2)
  }
}

/** @throws {SettingsError} */
export function readSettings(args: readonly string[], environment: NodeJS.ProcessEnv): Settings {
  const values = parse(args)
  const asked = [...new Set((values.role ?? []).flatMap((list) => list.split(',')))].map(roleOf)
  if (asked.length > 0 && (values.load || values.reset)) {
    throw new SettingsError(`--${values.load ? 'load' : 'reset'} is for the whole shop: leave --role out`)
  }
  if (asked.length > 0 && !environment.DATABASE_URL) {
    throw new SettingsError(
      '--role needs DATABASE_URL: a process that is only a part shares its database with the others, and PGlite is in one process',
    )
  }
  checkUrl(environment, 'MONGODB_URL', ['mongodb:', 'mongodb+srv:'])
  checkUrl(environment, 'REDIS_URL', ['redis:', 'rediss:'])
  const [only] = asked.length === 1 ? asked : []
  const databaseUrl = checkUrl(environment, 'DATABASE_URL', ['postgres:', 'postgresql:'])
  return {
    roles: asked.length > 0 ? asked : roles,
    port: portOf(environment.PORT || String(only ? ports[only] : 4002)),
    isPortAsked: Boolean(environment.PORT),
    seed: environment.SEED !== 'none',
    load: values.load === true,
    reset: values.reset === true,
    commandsUrl: checkUrl(environment, 'COMMANDS_URL', ['http:', 'https:'], `http://127.0.0.1:${ports.commands}`),
    queriesUrl: checkUrl(environment, 'QUERIES_URL', ['http:', 'https:'], `http://127.0.0.1:${ports.queries}`),
    databaseUrl,
    dataDirectory: directoryOf(environment.DATA_DIR || '.data/shop', { used: databaseUrl === undefined }),
  }
}

function parse(args: readonly string[]) {
  const options = { role: { type: 'string', multiple: true }, load: { type: 'boolean' }, reset: { type: 'boolean' } } as const
  try {
    return parseArgs({ args: [...args], options }).values
  } catch (error) {
    const [first = ''] = (error as Error).message.split(/\. |\n/)
    throw new SettingsError(first)
  }
}

function roleOf(text: string): Role {
  const role = roles.find((name) => name === text)
  if (!role) throw new SettingsError(`--role ${text}: there is ${roles.join(', ')}`)
  return role
}

function portOf(text: string): number {
  if (!/^\d{1,5}$/.test(text) || Number(text) > 65_535) throw new SettingsError(`PORT=${text}: a port is a number from 0 to 65535`)
  return Number(text)
}

/** Left out: `otherwise`. Empty: undefined. The message does not repeat the URL, which may hold a password. */
function checkUrl(environment: NodeJS.ProcessEnv, name: string, protocols: readonly string[], otherwise?: string): string | undefined {
  const text = (environment[name] ?? otherwise) || undefined
  if (text !== undefined && !(URL.canParse(text) && protocols.includes(new URL(text).protocol))) {
    // Several hosts in a row are no URL to everybody, but may be one to the driver.
    if (protocols.some((protocol) => protocol.startsWith('mongodb') && text.startsWith(`${protocol}//`))) return text
    throw new SettingsError(`${name} is no address that begins with ${protocols.map((protocol) => `${protocol}//`).join(' or ')}`)
  }
  return text
}

/** What is not there yet will be made; what is there, or the nearest folder above it, must be one to write in. */
function directoryOf(path: string, { used }: { readonly used: boolean }): string {
  let place = resolve(path)
  while (used && !existsSync(place) && dirname(place) !== place) place = dirname(place)
  if (used && !isWritableDirectory(place)) throw new SettingsError(`DATA_DIR=${path}: ${place} is no directory that can be written to`)
  return path
}

function isWritableDirectory(path: string): boolean {
  try {
    accessSync(path, constants.W_OK)
    return statSync(path).isDirectory()
  } catch {
    return false
  }
}
