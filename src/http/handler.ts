import { type Answer, type Context, consoleLog, type Executed, type Log, type ReadModelStatus, UsageError } from '../index.ts'
import { HttpFault } from './http-fault.ts'
import { failureOf } from './problem.ts'
import { readBody, readQueryInput } from './request-input.ts'

/** What the handler needs of an application: any `Headwater` will do. */
export interface ServedApp {
  execute(
    name: string,
    input: unknown,
    options?: { readonly idempotencyKey?: string; readonly after?: string; readonly ifVersion?: number; readonly context?: Context },
  ): Promise<Executed<unknown>>
  query(
    name: string,
    input: unknown,
    options?: { readonly after?: string; readonly waitMs?: number; readonly context?: Context },
  ): Promise<Answer<unknown>>
  status(): Promise<{ readonly readModels: readonly ReadModelStatus[] }>
}

/** How the application is served. */
export interface HandlerOptions {
  /**
   * Tells who is asking; commands and queries find it in their context. A `Response` refuses the request. It is asked for every command and
   * query and for the status, before anything is read; to look into the body, it must `clone()` the request.
   */
  readonly context?: (request: Request) => Context | Response | Promise<Context | Response>
  /** The path under which the routes lie, such as `/api`. Default: none. */
  readonly basePath?: string
  /** The largest body a command may have. Default 1 MiB. */
  readonly maxBodyBytes?: number
  /** Where unexpected errors go; those who ask are told nothing of them. Default: standard error. */
  readonly log?: Log
  /** Answers queries only: every command is refused with 403 `read_only`. */
  readonly readOnly?: boolean
}

/** One request on its way to an answer. */
interface Exchange {
  readonly app: ServedApp
  readonly options: HandlerOptions
  readonly request: Request
  readonly url: URL
  /** The last part of the path, decoded. */
  readonly name: string
}

interface Route {
  readonly path: RegExp
  readonly methods: readonly string[]
  readonly answer: (exchange: Exchange) => Promise<Response> | Response
}

const routes: readonly Route[] = [
  { path: /^\/commands\/([^/]+)$/, methods: ['POST'], answer: executeCommand },
  { path: /^\/queries\/([^/]+)$/, methods: ['GET', 'HEAD'], answer: answerQuery },
  { path: /^\/status$/, methods: ['GET', 'HEAD'], answer: answerStatus },
  { path: /^\/health$/, methods: ['GET', 'HEAD'], answer: () => json({ status: 'ok' }) },
]

/**
 * Serves an application over HTTP: `POST /commands/<name>`, `GET /queries/<name>?input=<JSON>`, `GET /status`, `GET /health`. The function
 * it returns takes a fetch-style `Request`, never throws, and answers every error as `application/problem+json` (see {@link Problem}).
 * Errors that it does not know go to the log; the answer says nothing of them.
 *
 * Browsers on another origin read the tokens only if the server around it exposes the headers `Headwater-Token`, `Headwater-Lag-Ms` and
 * `Idempotency-Replayed`.
 *
 * @example
 * const handle = handler(app, { basePath: '/api', context: (request) => ({ actor: request.headers.get('x-user') ?? 'nobody' }) })
 * const response = await handle(new Request('http://localhost/api/queries/timeline'))
 * @throws {UsageError} when `basePath` is no path
 */
export function handler(app: ServedApp, options: HandlerOptions = {}): (request: Request) => Promise<Response> {
  const basePath = (options.basePath ?? '').replace(/\/+$/, '')
  if (basePath && !basePath.startsWith('/')) throw new UsageError(`handler: basePath ${JSON.stringify(basePath)} does not begin with "/"`)
  const log = options.log ?? consoleLog()
  return async (request) => {
    try {
      const response = await route(app, options, request, basePath)
      return request.method === 'HEAD' ? new Response(null, response) : response
    } catch (error) {
      return answerFailure(error, request, log)
    }
  }
}

async function route(app: ServedApp, options: HandlerOptions, request: Request, basePath: string): Promise<Response> {
  const url = new URL(request.url)
  const path = url.pathname.startsWith(basePath) ? url.pathname.slice(basePath.length) : ''
  for (const candidate of routes) {
    const match = candidate.path.exec(path)
    if (!match) continue
    const allow = candidate.methods.join(', ')
    if (!candidate.methods.includes(request.method)) throw new HttpFault('method_not_allowed', `use ${allow}`, { Allow: allow })
    return candidate.answer({ app, options, request, url, name: decodeName(match[1] ?? '') })
  }
  throw nothingHere()
}

async function executeCommand({ app, options, request, name }: Exchange): Promise<Response> {
  const asking = await whoIsAsking(request, options)
  if (asking instanceof Response) return asking
  if (options.readOnly) throw new HttpFault('read_only', 'commands are not taken here')
  const demands = { ...readToken(request.headers), ...readIdempotencyKey(request.headers), ...readIfVersion(request.headers) }
  const input = await readBody(request, options.maxBodyBytes ?? 1024 * 1024)
  const { result, token, replayed } = await app.execute(name, input, { ...asking, ...demands })
  return json({ result: result ?? null }, { 'Headwater-Token': token, ...(replayed ? { 'Idempotency-Replayed': 'true' } : {}) })
}

async function answerQuery({ app, options, request, url, name }: Exchange): Promise<Response> {
  const asking = await whoIsAsking(request, options)
  if (asking instanceof Response) return asking
  const wait = readWaitMs(request.headers)
  const input = readQueryInput(url.search)
  const { result, lagMs } = await app.query(name, input, { ...asking, ...readToken(request.headers), ...wait })
  // Rounded up: an answer is never said to be newer than it is.
  return json(result ?? null, { 'Headwater-Lag-Ms': String(Math.ceil(lagMs)) })
}

async function answerStatus({ app, options, request }: Exchange): Promise<Response> {
  const asking = await whoIsAsking(request, options)
  if (asking instanceof Response) return asking
  const { readModels } = await app.status()
  return json({ readModels: readModels.map(publicStatus) })
}

/** Without `error` and `advice`: they hold SQL, and are for those who run the application. */
function publicStatus({ name, mode, state, lagMs, pending, parked, rows, bytes, sources, build, owners }: ReadModelStatus): object {
  return { name, mode, state, lagMs, pending, parked, rows, bytes, sources, build, owners }
}

async function whoIsAsking(request: Request, options: HandlerOptions): Promise<{ readonly context?: Context } | Response> {
  if (!options.context) return {}
  const context = await options.context(request)
  return context instanceof Response ? context : { context }
}

function readToken(headers: Headers): { readonly after?: string } {
  const after = headers.get('headwater-token')
  return after === null ? {} : { after }
}

function readIdempotencyKey(headers: Headers): { readonly idempotencyKey?: string } {
  const idempotencyKey = headers.get('idempotency-key')
  if (idempotencyKey === null) return {}
  const bytes = new TextEncoder().encode(idempotencyKey).byteLength
  if (bytes < 1 || bytes > 256) throw new HttpFault('malformed', 'Idempotency-Key: 1 to 256 bytes')
  return { idempotencyKey }
}

/** `If-Match: "3"`: the version of the stream that the caller decided on. */
function readIfVersion(headers: Headers): { readonly ifVersion?: number } {
  const text = headers.get('if-match')
  if (text === null) return {}
  const [, version] = /^"(\d{1,9})"$/.exec(text.trim()) ?? []
  if (version === undefined) throw new HttpFault('malformed', 'If-Match: the version of the stream in double quotes, such as "3"')
  return { ifVersion: Number(version) }
}

const waitMsMax = 30_000

/** Longer waits than the longest are cut to it: the header is a bound, not a demand. */
function readWaitMs(headers: Headers): { readonly waitMs?: number } {
  const text = headers.get('headwater-wait-ms')
  if (text === null) return {}
  if (!/^\d{1,15}$/.test(text)) throw new HttpFault('malformed', 'Headwater-Wait-Ms: a whole number of milliseconds')
  return { waitMs: Math.min(Number(text), waitMsMax) }
}

function decodeName(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    throw nothingHere()
  }
}

function nothingHere(): HttpFault {
  return new HttpFault('not_found', 'there is nothing at this address')
}

function answerFailure(error: unknown, request: Request, log: Log): Response {
  const { problem, headers, logAs } = failureOf(error)
  if (logAs) tell(log, logAs, request, error)
  try {
    return json(problem, { ...headers, 'Content-Type': 'application/problem+json' }, problem.status)
  } catch (notJson) {
    // The details of a refusal are the application's, and may be anything.
    return answerFailure(notJson, request, log)
  }
}

function tell(log: Log, level: 'warn' | 'error', request: Request, error: unknown): void {
  try {
    log(level, `http: ${request.method} ${new URL(request.url).pathname} failed`, { error: describe(error) })
  } catch {
    // A log that fails must not take the answer with it.
  }
}

/** An error with what lay beneath it, four deep: causes may form a ring. */
function describe(error: unknown, deep = 4): string {
  if (!(error instanceof Error)) return String(error)
  const own = error.stack ?? error.message
  return error.cause === undefined || deep === 0 ? own : `${own}\ncaused by: ${describe(error.cause, deep - 1)}`
}

function json(value: unknown, headers: Readonly<Record<string, string>> = {}, status = 200): Response {
  return new Response(JSON.stringify(value), {
    status,
    headers: { 'Content-Type': 'application/json', 'Cache-Control': 'private, no-store', 'X-Content-Type-Options': 'nosniff', ...headers },
  })
}
