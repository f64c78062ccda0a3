import { type HeadwaterError, type Issue, isHeadwaterError, Rejection } from '../index.ts'
import { HttpFault } from './http-fault.ts'

/** The body of every answer that is an error (RFC 9457). `code` is stable and may be switched on; `detail` is for people. */
export interface Problem {
  /** `urn:headwater:problem:<code>`, or `urn:headwater:refused:<code>` for a refusal by the application itself. */
  readonly type: string
  readonly title: string
  readonly status: number
  readonly detail: string
  readonly code: string
  /** With `invalid_input`: every place where the input fails its schema. */
  readonly errors?: readonly Issue[]
  /** What the application gave to `reject(code, details)`. */
  readonly details?: unknown
  /** With `behind`: how many of the outstanding writes that the query asked for are there, and how many there are. */
  readonly have?: number
  readonly want?: number
}

/** A problem and what goes with it in the answer's head and in the log. */
export interface Failure {
  readonly problem: Problem
  readonly headers: Readonly<Record<string, string>>
  readonly logAs: 'warn' | 'error' | undefined
}

interface Kind {
  readonly status: number
  readonly title: string
  /** Said in place of the error's own message, where that could hold SQL, keys or addresses, or names things it should not list. */
  readonly detail?: string
  readonly retryAfterSeconds?: number
  readonly logAs?: 'warn' | 'error'
}

const internal: Kind = {
  status: 500,
  title: 'Internal error',
  detail: 'Something went wrong here. The log of the server says what.',
  logAs: 'error',
}

/** Every code this library answers with. What is not here is `internal`. */
const kinds: ReadonlyMap<string, Kind> = new Map<string, Kind>([
  ['malformed', { status: 400, title: 'Malformed request' }],
  ['read_only', { status: 403, title: 'Read only' }],
  ['not_found', { status: 404, title: 'Not found' }],
  ['unknown_command', { status: 404, title: 'Unknown command', detail: 'There is no command of that name.' }],
  ['unknown_query', { status: 404, title: 'Unknown query', detail: 'There is no query of that name.' }],
  ['method_not_allowed', { status: 405, title: 'Method not allowed' }],
  [
    'version_conflict',
    { status: 409, title: 'Version conflict', detail: 'The stream has changed since the version that the command was meant for.' },
  ],
  ['other_generation', { status: 410, title: 'Token of another generation' }],
  ['ahead', { status: 410, title: 'Token ahead of the database' }],
  ['too_large', { status: 413, title: 'Body too large' }],
  ['unsupported_media_type', { status: 415, title: 'Unsupported media type' }],
  ['invalid_input', { status: 422, title: 'Invalid input' }],
  ['idempotency_key_reused', { status: 422, title: 'Idempotency key reused' }],
  ['behind', { status: 503, title: 'Behind', retryAfterSeconds: 1 }],
  [
    'replica_behind',
    { status: 503, title: 'Replica behind', detail: 'No replica holds yet what the query asked for.', retryAfterSeconds: 1 },
  ],
  [
    'building',
    {
      status: 503,
      title: 'Building',
      detail: 'A read model that this query reads is being built for the first time.',
      retryAfterSeconds: 10,
    },
  ],
  ['stopped', { status: 503, title: 'Stopped', detail: 'A read model that this query reads has stopped.', retryAfterSeconds: 60 }],
  [
    'parked',
    {
      status: 503,
      title: 'Parked',
      detail: 'What was asked for could not be brought up to date: its last change is set aside.',
      retryAfterSeconds: 60,
    },
  ],
  [
    'database_unavailable',
    { status: 503, title: 'Database unavailable', detail: 'The database cannot be reached.', retryAfterSeconds: 2, logAs: 'warn' },
  ],
  [
    'busy',
    {
      status: 503,
      title: 'Busy',
      detail:
        'Others were in the way at every try, such as a call with the same idempotency key that still runs; nothing was done. Try again.',
      retryAfterSeconds: 1,
    },
  ],
  [
    'outcome_unknown',
    {
      status: 503,
      title: 'Outcome unknown',
      detail:
        'The connection to the database was lost during commit; whether the command took effect is not known. ' +
        'With an idempotency key, send it again: it is never done twice.',
      retryAfterSeconds: 1,
      logAs: 'warn',
    },
  ],
])

/** What to answer for anything that was thrown. An error that is none of this library's is `internal`, and nothing of it is told. */
export function failureOf(error: unknown): Failure {
  if (isRejection(error)) return { problem: refusal(error), headers: {}, logAs: undefined }
  const known = error instanceof HttpFault || isHeadwaterError(error) ? error : undefined
  const code = known && (isInTheWay(known) ? 'busy' : known.code)
  const kind = code && kinds.get(code)
  if (!known || !kind) return failure('internal', internal, '')
  const { problem, headers, logAs } = failure(code, kind, known.message)
  if (known instanceof HttpFault) return { problem, headers: { ...headers, ...known.headers }, logAs }
  return { problem: { ...problem, ...membersOf(known) }, headers, logAs }
}

/** Locks that were not had in time, deadlocks and conflicts that outlasted every retry. */
function isInTheWay(error: { readonly code?: string; readonly sqlState?: unknown }): boolean {
  return error.code === 'database_error' && ['55P03', '40001', '40P01'].includes(String(error.sqlState))
}

/** An application may refuse with any code, `behind` or `internal` too: what it is is told by its class, in any copy of this library. */
function isRejection(error: unknown): error is Rejection {
  return error instanceof Rejection || (isHeadwaterError(error) && error.name === 'Rejection')
}

function refusal({ code, details }: Rejection): Problem {
  const problem = {
    type: `urn:headwater:refused:${encodeURIComponent(code.toWellFormed())}`,
    title: 'Refused',
    status: 422,
    detail: `The application refused this: ${code}.`,
    code,
  }
  return details === undefined ? problem : { ...problem, details }
}

function failure(code: string, kind: Kind, message: string): Failure {
  return {
    problem: { type: `urn:headwater:problem:${code}`, title: kind.title, status: kind.status, detail: kind.detail ?? message, code },
    headers: kind.retryAfterSeconds === undefined ? {} : { 'Retry-After': String(kind.retryAfterSeconds) },
    logAs: kind.logAs,
  }
}

/** Read by name, not by class: the error may come from another copy of this library. */
function membersOf(
  error: HeadwaterError & { readonly issues?: unknown; readonly have?: unknown; readonly want?: unknown },
): Partial<Problem> {
  if (error.code === 'invalid_input') return { errors: (error.issues ?? []) as readonly Issue[] }
  if (error.code === 'behind') return { have: Number(error.have), want: Number(error.want) }
  return {}
}
