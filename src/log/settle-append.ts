import { quote } from '../database/identifier.ts'
import { DatabaseError, DatabaseUnavailableError, OutcomeUnknownError } from '../errors.ts'
import { pauseBefore } from '../internal/retry.ts'
import type { AppendOutcome } from './log.ts'
import type { LogRuntime } from './log-runtime.ts'
import type { ReadyAppend } from './ready-append.ts'

const triesMax = 10

/**
 * Tells what became of a group whose answer was lost with the connection. Its call is claimed, not looked up: events that are not there may
 * still come, from a statement that waits for the log's lock or lies in a buffer on its way. Once claimed, a call can never take effect any
 * more, so a request whose events are not there may be decided again (`stale`).
 */
export async function settleAppend(
  runtime: LogRuntime,
  call: string,
  group: readonly ReadyAppend[],
  lost: DatabaseUnavailableError,
): Promise<readonly (AppendOutcome | OutcomeUnknownError)[]> {
  for (let tries = 1; tries <= triesMax; tries++) {
    try {
      const outcomes = await claimCall(runtime, call, group)
      runtime.log('warn', 'a connection was lost during an append; the call was claimed', {
        call,
        found: outcomes.map(({ status }) => status),
      })
      return outcomes
    } catch (error) {
      if (!isPassing(error)) {
        runtime.log('error', 'a lost append could not be settled', { call, error: String(error) })
        break
      }
    }
    if (tries < triesMax) await runtime.clock.sleep(pauseBefore(tries, { baseMs: 50, maxMs: 2000 }))
  }
  return group.map(({ request }) => new OutcomeUnknownError(request.answer?.command ?? 'append', { cause: lost }))
}

/** No connection, or the lock on the log was not to be had in time: the lost call itself may hold it. */
function isPassing(error: unknown): boolean {
  return (
    error instanceof DatabaseUnavailableError ||
    (error instanceof DatabaseError && ['55P03', '57014', '40001', '40P01'].includes(error.sqlState))
  )
}

interface Settled {
  readonly xid: string | null
  readonly positions: readonly (number | null)[]
  readonly versions: readonly number[]
}

async function claimCall({ database, schema }: LogRuntime, call: string, group: readonly ReadyAppend[]): Promise<readonly AppendOutcome[]> {
  const { rows } = await database.query<Settled>(`select xid, positions, versions from ${quote(schema)}.settle_append($1, $2, $3)`, [
    call,
    group.flatMap(({ streams }) => streams),
    group.flatMap(({ request }) => request.streams.map(({ events }) => events.at(-1)?.id ?? null)),
  ])
  const settled = rows[0]
  if (!settled) throw new DatabaseError('XX000', 'the function settle_append answered nothing')
  let entry = 0
  return group.map(({ streams }) => {
    const from = entry
    entry += streams.length
    const positions = settled.positions.slice(from, entry).filter((position) => position !== null)
    if (positions.length === 0) return { status: 'stale' }
    return { status: 'appended', position: Math.max(...positions), versions: settled.versions.slice(from, entry), xid: settled.xid ?? '' }
  })
}
