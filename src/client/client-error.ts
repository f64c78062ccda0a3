import type { Issue } from '../index.ts'

/** What a {@link ClientError} is made of: the members of a problem. */
export interface Failed {
  readonly code: string
  readonly status: number
  readonly message: string
  readonly details?: unknown
  readonly errors?: readonly Issue[] | undefined
  readonly have?: number | undefined
  readonly want?: number | undefined
  readonly cause?: unknown
}

/**
 * What a {@link Client} throws. `code` is the problem's, and may be switched on: one that the application gave to `reject()`, one of the
 * library (`invalid_input`, `behind`, `unknown_command`, ...), or one of the client's own: `unreachable` (no answer; `cause` says why, `status`
 * is 0; a command may have taken effect) and `unexpected_answer` (an answer, but none of a Headwater handler).
 */
export class ClientError extends Error {
  readonly code: string
  /** The HTTP status, 0 when there was no answer. */
  readonly status: number
  /** What the application gave to `reject(code, details)`. */
  readonly details: unknown
  /** With `invalid_input`: every place where the input fails its schema. */
  readonly errors: readonly Issue[] | undefined
  /** With `behind`: how many of the writes that were asked for are there, and how many there are. */
  readonly have: number | undefined
  readonly want: number | undefined

  constructor(failed: Failed) {
    super(failed.message, failed.cause === undefined ? undefined : { cause: failed.cause })
    this.name = 'ClientError'
    this.code = failed.code
    this.status = failed.status
    this.details = failed.details
    this.errors = failed.errors
    this.have = failed.have
    this.want = failed.want
  }
}
