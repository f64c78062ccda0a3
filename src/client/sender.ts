import type { Clock } from '../index.ts'
import { ClientError } from './client-error.ts'

/** A request that can be made again: the body of a `Request` can be sent once only. */
export interface Outgoing {
  readonly method: 'GET' | 'POST'
  readonly url: string
  readonly headers: Readonly<Record<string, string | undefined>>
  readonly body?: string
  readonly signal?: AbortSignal
  /** Whether sending it twice does no harm. */
  readonly repeatable: boolean
}

export interface SenderOptions {
  readonly fetch: (request: Request) => Promise<Response>
  readonly headers: () => Promise<Readonly<Record<string, string>>> | Readonly<Record<string, string>>
  readonly retries: number
  readonly clock: Clock
}

/** An answer in the 200s: its head, and its body as JSON. */
export interface Incoming {
  readonly header: (name: string) => string | null
  readonly body: unknown
}

/** Longer pauses are the caller's to make. */
const pauseMaxMs = 5000
const pauseDefaultMs = 1000

/**
 * Sends a request; after a 503, what is repeatable is sent again when the server says that it may.
 * @throws {ClientError}
 */
export async function send(outgoing: Outgoing, options: SenderOptions): Promise<Incoming> {
  for (let attempt = 0; ; attempt++) {
    const response = await sendOnce(outgoing, options)
    if (response.ok) return { header: (name) => response.headers.get(name), body: await readJson(response, outgoing) }
    const error = await errorOf(response, outgoing)
    const pauseMs = outgoing.repeatable && attempt < options.retries ? pauseAfter(response, options.clock) : undefined
    if (pauseMs === undefined) throw error
    await options.clock.sleep(pauseMs, outgoing.signal)
    outgoing.signal?.throwIfAborted()
  }
}

async function sendOnce(outgoing: Outgoing, options: SenderOptions): Promise<Response> {
  const headers = new Headers(await options.headers())
  for (const [name, value] of Object.entries(outgoing.headers)) {
    if (value !== undefined) headers.set(name, value)
  }
  const request = new Request(outgoing.url, {
    method: outgoing.method,
    headers,
    ...(outgoing.body === undefined ? {} : { body: outgoing.body }),
    ...(outgoing.signal ? { signal: outgoing.signal } : {}),
  })
  try {
    return await options.fetch(request)
  } catch (cause) {
    if (outgoing.signal?.aborted) throw cause
    throw new ClientError({ code: 'unreachable', status: 0, message: `${outgoing.method} ${outgoing.url}: no answer`, cause })
  }
}

async function readJson(response: Response, outgoing: Outgoing): Promise<unknown> {
  try {
    return await response.json()
  } catch (cause) {
    if (outgoing.signal?.aborted) throw cause
    throw unexpected(response.status, `${outgoing.method} ${outgoing.url}: the answer is not JSON`, cause)
  }
}

async function errorOf(response: Response, outgoing: Outgoing): Promise<ClientError> {
  const problem: unknown = await response.json().catch(() => undefined)
  outgoing.signal?.throwIfAborted()
  if (!isProblem(problem)) {
    return unexpected(response.status, `${outgoing.method} ${outgoing.url}: ${response.status} without a problem that says why`)
  }
  const { code, title, detail, details, errors, have, want } = problem
  return new ClientError({ code, status: response.status, message: detail ?? title ?? code, details, errors, have, want })
}

type ProblemBody = Pick<ClientError, 'code' | 'details' | 'errors' | 'have' | 'want'> & {
  readonly title?: string
  readonly detail?: string
}

function isProblem(value: unknown): value is ProblemBody {
  return typeof value === 'object' && value !== null && 'code' in value && typeof value.code === 'string'
}

/** An answer that no Headwater handler gave, or that something on the way has changed. */
export function unexpected(status: number, message: string, cause?: unknown): ClientError {
  return new ClientError({ code: 'unexpected_answer', status, message, cause })
}

/** How long to wait before the request may be sent again; undefined when it may not, or not soon. */
function pauseAfter(response: Response, clock: Clock): number | undefined {
  if (response.status !== 503) return undefined
  const text = response.headers.get('retry-after')
  const ms = text === null ? pauseDefaultMs : /^\d+$/.test(text) ? Number(text) * 1000 : Date.parse(text) - clock.now()
  return ms <= pauseMaxMs ? Math.max(0, ms) : undefined
}
