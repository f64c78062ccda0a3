import type { Clock, InputOf, Json, Schema } from '../index.ts'
import { systemClock } from '../internal/clock.ts'
import { ClientError } from './client-error.ts'
import { type Incoming, type SenderOptions, send, unexpected } from './sender.ts'
import { Session } from './session.ts'

type AnyApp = { readonly '~commands': object; readonly '~queries': object }
type InputIn<D> = D extends { readonly input: infer S extends Schema } ? InputOf<S> : never
type ResultOf<D> = D extends { readonly '~result': infer R } ? Json<R> : never

/** Where the application answers, and how to ask it. */
export interface ClientOptions {
  /** The address of the handler, with its `basePath`: `https://example.org/api`. In browsers it may be relative: `/api`. */
  readonly url: string
  /** Sends the requests; `handler(app)` will do too. Default: the platform's `fetch`. */
  readonly fetch?: (request: Request) => Promise<Response>
  /** Sent with every request; a function is asked each time anew. */
  readonly headers?: Readonly<Record<string, string>> | (() => Readonly<Record<string, string>> | Promise<Readonly<Record<string, string>>>)
  /** Keep the token of each write and send it with everything that follows. Default true. */
  readonly session?: boolean
  /**
   * How often a query, or a command with an idempotency key, is sent again after a 503, when the server asks for a pause of at most five
   * seconds. Default 2; 0 switches it off. Nothing else is ever sent twice.
   */
  readonly retries?: number
  readonly clock?: Clock
}

/** How one command is sent. */
export interface ClientExecuteOptions {
  /** Makes it safe to send again: the same key with the same input answers what happened the first time. */
  readonly idempotencyKey?: string
  /** For commands of aggregates: the version of the stream that you decided on. Another one is an error `version_conflict`. */
  readonly ifVersion?: number
  /** The answer's token shall cover this token too, beside the client's own. */
  readonly after?: string
  readonly signal?: AbortSignal
}

/** How one query is asked. */
export interface ClientQueryOptions {
  /** Not from before the writes of this token, beside the client's own. */
  readonly after?: string
  /** How long the server waits for that. Default 2,000, at most 30,000. */
  readonly waitMs?: number
  readonly signal?: AbortSignal
}

/**
 * An application, as seen over HTTP. Names, inputs and results are those of the application; results are what is left of them after JSON
 * (a `Date` is a string).
 */
export interface Client<App extends AnyApp> {
  /** What the client's next query will not answer from before. Readable and settable, to carry it from one client to another. */
  token: string | undefined
  /** @throws {ClientError} */
  execute<Name extends keyof App['~commands'] & string>(
    name: Name,
    input: InputIn<App['~commands'][Name]>,
    options?: ClientExecuteOptions,
  ): Promise<{ readonly result: ResultOf<App['~commands'][Name]>; readonly token: string; readonly replayed: boolean }>
  /** @throws {ClientError} */
  query<Name extends keyof App['~queries'] & string>(
    name: Name,
    input: InputIn<App['~queries'][Name]>,
    options?: ClientQueryOptions,
  ): Promise<{ readonly result: ResultOf<App['~queries'][Name]>; readonly lagMs: number }>
}

/**
 * A client of an application that `handler(app)` serves: typed by the application itself, without generated code. It keeps the tokens of
 * its writes, so that whoever uses one client always reads their own writes.
 *
 * @example
 * import type { app } from './app.ts'
 * const api = client<typeof app>({ url: 'http://127.0.0.1:4000' })
 * await api.execute('publishPost', { postId, authorId, body }, { idempotencyKey: postId })
 * const { result } = await api.query('timeline', {})   // with the new post
 */
export function client<App extends AnyApp>(options: ClientOptions): Client<App> {
  const session = new Session(options.session ?? true)
  const remote: Remote = { url: options.url.replace(/\/+$/, ''), session, sender: senderOptions(options) }
  return {
    get token() {
      return session.token
    },
    set token(token) {
      session.token = token
    },
    execute: (name, input, options) => session.turn(() => execute(remote, name, input, options)),
    query: (name, input, options) => query(remote, name, input, options),
  }
}

interface Remote {
  readonly url: string
  readonly session: Session
  readonly sender: SenderOptions
}

function senderOptions({ fetch, headers = {}, retries = 2, clock = systemClock }: ClientOptions): SenderOptions {
  return {
    fetch: fetch ?? ((request) => globalThis.fetch(request)),
    headers: typeof headers === 'function' ? headers : () => headers,
    retries,
    clock,
  }
}

async function execute(
  { url, session, sender }: Remote,
  name: string,
  input: unknown,
  { idempotencyKey, ifVersion, after, signal }: ClientExecuteOptions = {},
): Promise<{ result: never; token: string; replayed: boolean }> {
  return await withToken(session, after, async (token, sent) => {
    const answer = await send(
      {
        method: 'POST',
        url: `${url}/commands/${encodeURIComponent(name)}`,
        headers: {
          'Content-Type': 'application/json',
          'Headwater-Token': token,
          'Idempotency-Key': idempotencyKey,
          'If-Match': ifVersion === undefined ? undefined : `"${ifVersion}"`,
        },
        body: JSON.stringify(input ?? {}),
        ...(signal ? { signal } : {}),
        repeatable: idempotencyKey !== undefined,
      },
      sender,
    )
    const written = headerOf(answer, 'Headwater-Token')
    session.written(sent, written)
    const { result } = answer.body as { readonly result: never }
    return { result, token: written, replayed: answer.header('Idempotency-Replayed') === 'true' }
  })
}

async function query(
  { url, session, sender }: Remote,
  name: string,
  input: unknown,
  { after, waitMs, signal }: ClientQueryOptions = {},
): Promise<{ result: never; lagMs: number }> {
  return await withToken(session, after, async (token) => {
    const answer = await send(
      {
        method: 'GET',
        url: `${url}/queries/${encodeURIComponent(name)}?input=${encodeURIComponent(JSON.stringify(input ?? {}))}`,
        headers: { 'Headwater-Token': token, 'Headwater-Wait-Ms': waitMs === undefined ? undefined : String(waitMs) },
        ...(signal ? { signal } : {}),
        repeatable: true,
      },
      sender,
    )
    return { result: answer.body as never, lagMs: Number(headerOf(answer, 'Headwater-Lag-Ms')) }
  })
}

/**
 * Runs `work` with the caller's token and the session's, as one. Tokens of a database that is gone are dropped from the session, unless it
 * may be the caller's that is meant.
 */
async function withToken<T>(
  session: Session,
  after: string | undefined,
  work: (token: string | undefined, sent: readonly string[]) => Promise<T>,
): Promise<T> {
  const sent = session.tokens
  const all = after === undefined ? sent : [...new Set([...sent, after])]
  try {
    return await work(all.length === 0 ? undefined : all.join(','), sent)
  } catch (error) {
    if (error instanceof ClientError && error.status === 410 && after === undefined) session.forget(sent)
    throw error
  }
}

function headerOf(answer: Incoming, name: string): string {
  const value = answer.header(name)
  if (value !== null) return value
  throw unexpected(
    200,
    `the answer has no ${name}: either no Headwater handler gave it, or the page is of another origin and the server does not list ${name} in Access-Control-Expose-Headers`,
  )
}
