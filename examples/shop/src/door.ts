import type { AddressInfo } from 'node:net'
import { settings } from './app.ts'
import { type Role, SettingsError } from './settings.ts'

/** Headers that say how the body came over the other connection, which is not how it goes on. */
const ofTheConnection = ['connection', 'content-encoding', 'content-length', 'keep-alive', 'transfer-encoding', 'host']
/** Marks what another process handed on already. */
const mark = 'Shop-Handed-On'

/** What is asked of a role that this process may not have. */
const doors = [
  { path: '/commands/', role: 'commands', does: 'takes commands', setting: 'COMMANDS_URL', other: settings.commandsUrl },
  { path: '/queries/', role: 'queries', does: 'answers queries', setting: 'QUERIES_URL', other: settings.queriesUrl },
] as const

const has = (role: Role) => settings.roles.includes(role)

/**
 * Hands on what another process does, so that a page has one address whichever process it is served by. Undefined for what this process answers itself.
 */
export async function handedOn(request: Request): Promise<Response | undefined> {
  const { pathname, search } = new URL(request.url)
  const door = doors.find(({ path, role }) => pathname.startsWith(path) && !has(role))
  if (!door) return undefined
  if (request.headers.has(mark)) {
    return problem(508, 'loop', 'Loop', `This was handed on already, and no process it came to ${door.does}. Is ${door.setting} right?`)
  }
  if (!door.other) return problem(503, 'unavailable', 'Unavailable', `No process that this one knows of ${door.does}.`)
  const { method } = request
  try {
    const answer = await fetch(new URL(pathname + search, door.other), {
      method,
      headers: { ...Object.fromEntries(without(request.headers)), [mark]: '1' },
      ...(method === 'GET' || method === 'HEAD' ? {} : { body: await request.arrayBuffer() }),
    })
    return new Response(await answer.arrayBuffer(), { status: answer.status, headers: without(answer.headers) })
  } catch {
    return problem(503, 'unavailable', 'Unavailable', `The process that ${door.does} does not answer.`)
  }
}

/** @throws {SettingsError} a process would hand on to itself */
export function refuseOwnAddress({ port }: AddressInfo): void {
  for (const { role, setting, other, does } of doors) {
    if (has(role) || !other) continue
    const url = new URL(other)
    const isHere = ['127.0.0.1', 'localhost', '[::1]'].includes(url.hostname) && Number(url.port || 80) === port
    if (isHere)
      throw new SettingsError(`${setting} is ${url.origin}, which is this process; name one that ${does}, or leave it empty (${setting}=)`)
  }
}

function without(headers: Headers): Headers {
  const kept = new Headers(headers)
  for (const name of ofTheConnection) kept.delete(name)
  return kept
}

function problem(status: number, code: string, title: string, detail: string): Response {
  return new Response(JSON.stringify({ type: 'about:blank', title, status, detail, code }), {
    status,
    headers: {
      'Content-Type': 'application/problem+json',
      'Cache-Control': 'no-store',
      ...(status === 503 ? { 'Retry-After': '1' } : {}),
    },
  })
}
