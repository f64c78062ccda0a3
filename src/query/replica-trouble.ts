import { DatabaseError, DatabaseUnavailableError, NotReadyError, ParkedError, TokenError } from '../errors.ts'

/**
 * SQLSTATEs by which a replica says that another server should be asked: a conflict with what it replays, a buffer held too long, a table that it has
 * not got yet or not any more, a schema or function likewise, a statement that writes, starting up or shutting down.
 */
const states = new Set(['40001', '40P01', '42P01', '3F000', '42883', '42703', '25006', '55000', '57P04'])

/**
 * Whether what went wrong on a replica may go right on another server: it is lost, in conflict with what it replays, or older than the primary. Query
 * builders wrap what the driver throws, so the causes are looked through too.
 */
export function isReplicaTrouble(error: unknown): boolean {
  for (let at = error, depth = 0; at instanceof Error && depth < 8; at = at.cause, depth++) {
    if (at instanceof DatabaseError) return states.has(at.sqlState)
    if (at instanceof DatabaseUnavailableError || at instanceof NotReadyError || at instanceof ParkedError || at instanceof TokenError)
      return true
  }
  return false
}
