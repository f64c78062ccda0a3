import { DatabaseError, DatabaseUnavailableError } from '../../index.ts'

/** What a server says of an error, as drivers hand it over. */
export interface ServerFailure {
  readonly code: string
  readonly severity: string
  readonly message: string
  readonly detail?: string | undefined
  readonly hint?: string | undefined
  readonly constraint?: string | undefined
  /** The character of the statement, counted from 1, at which the server saw it. */
  readonly position?: string | undefined
}

/** Whether `error` is the server's answer, and not the driver's or the network's own trouble. */
export function isServerFailure(error: unknown): error is ServerFailure {
  if (typeof error !== 'object' || error === null) return false
  return 'code' in error && typeof error.code === 'string' && 'severity' in error && typeof error.severity === 'string'
}

/** Whether the server ended the session with it. */
export function isFatal(failure: ServerFailure): boolean {
  return failure.severity === 'FATAL' || failure.severity === 'PANIC'
}

/** Whether a prepared statement has to be prepared anew: a table's columns have changed, or the session forgot it. Nothing ran. */
export function isStalePlan(failure: ServerFailure): boolean {
  return failure.code === '26000' || (failure.code === '0A000' && failure.message.includes('cached plan'))
}

/** Shutdown by an administrator, after a crash, still starting; no connection left. */
const unavailable = new Set(['57P01', '57P02', '57P03', '53300'])

/** Ends of a session that its own settings brought about. */
const timeouts = new Set(['25P03', '25P04', '57P05'])

/** The error of this library for what went wrong on the way to the server, there, or on the way back. */
export function failureOf(error: unknown, during: 'connect' | 'statement' | 'commit'): DatabaseError | DatabaseUnavailableError {
  if (error instanceof DatabaseError || error instanceof DatabaseUnavailableError) return error
  if (!isServerFailure(error)) return new DatabaseUnavailableError(describe(error, during), during, { cause: error })
  const { code, message, constraint } = error
  const ended = timeouts.has(code) || code.startsWith('08') || unavailable.has(code)
  if (ended) return new DatabaseUnavailableError(`${message} (${code})`, during, { cause: error })
  return new DatabaseError(code, message, { cause: error, constraint })
}

function describe(error: unknown, during: string): string {
  const reason = during === 'connect' ? 'the database cannot be reached' : 'the connection to the database broke'
  return `${reason}: ${reasonOf(error)}`
}

function reasonOf(error: unknown): string {
  if (error instanceof AggregateError && error.errors.length > 0) return error.errors.map(reasonOf).join('; ')
  return error instanceof Error ? error.message || error.name : String(error)
}
