import { UnknownNameError } from 'headwater'
import type { ServedApp } from 'headwater/http'
import { app, settings } from './app.ts'
import type { Role } from './settings.ts'

const shop: ServedApp = app
const does = (role: Role) => settings.roles.includes(role)

/** The application as the network sees this process: what it was not started for is unknown here. */
export const door: ServedApp = {
  execute: async (name, input, options) => {
    if (!does('commands')) throw new UnknownNameError('command', name, [])
    return await shop.execute(name, input, options)
  },
  query: async (name, input, options) => {
    if (!does('queries')) throw new UnknownNameError('query', name, [])
    return await shop.query(name, input, options)
  },
  status: () => shop.status(),
}

/** Headers that say how the body came over the other connection, which is not how it goes on. */
const ofTheConnection = ['connection', 'content-encoding', 'content-length', 'keep-alive', 'transfer-encoding', 'host']

/**
 * Hands on what another process does, so that a page has one address whichever process it is served by. Undefined for what this process answers itself.
 */
export async function handedOn(request: Request): Promise<Response | undefined> {
  const { pathname, search } = new URL(request.url)
  const other = otherFor(pathname)
  if (other === undefined) return undefined
  const { method } = request
  try {
    const answer = await fetch(new URL(pathname + search, other), {
      method,
      headers: without(request.headers),
      ...(method === 'GET' || method === 'HEAD' ? {} : { body: await request.arrayBuffer() }),
    })
    return new Response(await answer.arrayBuffer(), { status: answer.status, headers: without(answer.headers) })
  } catch {
    return unreachable(other)
  }
}

function otherFor(pathname: string): string | undefined {
  if (pathname.startsWith('/commands/') && !does('commands')) return settings.commandsUrl
  if (pathname.startsWith('/queries/') && !does('queries')) return settings.queriesUrl
  return undefined
}

function without(headers: Headers): Headers {
  const kept = new Headers(headers)
  for (const name of ofTheConnection) kept.delete(name)
  return kept
}

function unreachable(other: string): Response {
  const detail = `the process at ${other} that would do this does not answer`
  const problem = { type: 'about:blank', title: 'Unavailable', status: 503, detail, code: 'unavailable' }
  return new Response(JSON.stringify(problem), {
    status: 503,
    headers: { 'Content-Type': 'application/problem+json', 'Retry-After': '1', 'Cache-Control': 'no-store' },
  })
}
