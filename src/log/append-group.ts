import { randomUUID } from 'node:crypto'
import { DatabaseError, DatabaseUnavailableError } from '../errors.ts'
import type { GroupParts } from './append-columns.ts'
import { type Judgement, outcomesOf, sendAppend } from './append-statement.ts'
import type { AppendOutcome, CompanionGroup, CompanionPart } from './log.ts'
import type { LogRuntime } from './log-runtime.ts'
import type { ReadyAppend } from './ready-append.ts'
import { settleAppend } from './settle-append.ts'

/** What a request came to: an error is its own. */
export type Ended = AppendOutcome | Error

/**
 * Appends a group in one statement and tells what became of each request. A group that fails with an error is sent again request by request,
 * once, so that the error meets only the request it belongs to.
 */
export async function appendGroup(runtime: LogRuntime, group: readonly ReadyAppend[]): Promise<readonly Ended[]> {
  const { ended, failure } = await appendOnce(runtime, group)
  if (failure === undefined || !isWorthAnother(failure, group)) return ended
  const again: Ended[] = []
  for (const request of group) again.push(...(await appendOnce(runtime, [request])).ended)
  return again
}

interface Attempt {
  readonly ended: readonly Ended[]
  /** What the statement failed with, if it did; then nothing was done. */
  readonly failure?: Error
}

/** After a timeout, everything would only take as long again; a lost connection was settled. */
function isWorthAnother(failure: Error, group: readonly ReadyAppend[]): boolean {
  if (!(failure instanceof DatabaseError) || timeouts.has(failure.sqlState)) return false
  return group.length > 1 || conflicts.has(failure.sqlState)
}

const timeouts = new Set(['55P03', '57014'])
/** Serialization failure, deadlock. */
const conflicts = new Set(['40001', '40P01'])

async function appendOnce(runtime: LogRuntime, group: readonly ReadyAppend[]): Promise<Attempt> {
  if (!runtime.companion) return await judge(runtime, group, undefined)
  let prepared: Prepared
  try {
    prepared = await prepare(runtime.companion, group)
  } catch (error) {
    return { ended: group.map(() => errorOf(error)) }
  }
  const { requests, ended: early, companion, settled } = prepared
  const attempt: Attempt & { behind?: readonly number[] } =
    requests.length === 0 ? { ended: [] } : await judge(runtime, requests, companion)
  const judged = attempt.ended[Symbol.iterator]()
  const ended = early.map((end) => end ?? judged.next().value ?? new Error('a request was not judged'))
  settled(ended, attempt.behind ?? [])
  return { ...attempt, ended }
}

interface Prepared {
  /** Those that can be sent, and their parts. */
  readonly requests: readonly ReadyAppend[]
  readonly companion: GroupParts
  /** Of all requests; undefined for those that can be sent. */
  readonly ended: readonly (Ended | undefined)[]
  readonly settled: CompanionGroup['settled']
}

/** Folds the sync projections. A request whose fold failed is not sent; nor is one that started from its rows. */
async function prepare(companion: NonNullable<LogRuntime['companion']>, group: readonly ReadyAppend[]): Promise<Prepared> {
  const prepared = await companion.prepare(group.map(({ request }) => request))
  const { projections, parts } = prepared
  const ended = parts.map((part) => {
    if (part instanceof Error) return part
    return part.needs.some((need) => parts[need] instanceof Error) ? ({ status: 'stale' } as const) : undefined
  })
  const places = new Map<number, number>()
  for (const [i, end] of ended.entries()) if (!end) places.set(i, places.size)
  const sent = parts.filter((part, i): part is CompanionPart => !ended[i] && !(part instanceof Error))
  return {
    requests: group.filter((_, i) => !ended[i]),
    companion: {
      projections,
      parts: sent.map(({ rows, needs }) => ({ rows, needs: needs.map((need) => places.get(need) ?? need) })),
    },
    ended,
    settled: (outcomes, left) => prepared.settled(outcomes, left),
  }
}

async function judge(
  runtime: LogRuntime,
  group: readonly ReadyAppend[],
  companion: GroupParts | undefined,
): Promise<Attempt & { behind?: readonly number[] }> {
  const call = randomUUID()
  let judgement: Judgement
  try {
    judgement = await sendAppend(runtime, call, group, companion)
  } catch (error) {
    if (!(error instanceof DatabaseUnavailableError)) return { ended: group.map(() => errorOf(error)), failure: errorOf(error) }
    runtime.onLost()
    if (error.during === 'connect') return { ended: group.map(() => error) }
    // Whether sync projections moved along is not known.
    return { ended: await settleAppend(runtime, call, group, error), behind: companion?.projections ?? [] }
  }
  if (judgement.outcome === 'judged') {
    const ended = outcomesOf(judgement, group)
    const position = ended.reduce((last, end) => (end.status === 'appended' ? Math.max(last, end.position) : last), judgement.head)
    if (position > judgement.head) runtime.onAppended?.(position)
    return { ended, behind: judgement.behind ?? [] }
  }
  return { ended: await afterOtherGeneration(runtime, group) }
}

/** All that was decided was decided on what may never have been: it is forgotten, and decided again. */
async function afterOtherGeneration(runtime: LogRuntime, group: readonly ReadyAppend[]): Promise<readonly Ended[]> {
  runtime.onLost()
  try {
    await runtime.renewGeneration()
    return group.map(() => ({ status: 'stale' }))
  } catch (error) {
    return group.map(() => errorOf(error))
  }
}

function errorOf(error: unknown): Error {
  return error instanceof Error ? error : new Error(String(error))
}
