import { quote } from '../database/identifier.ts'
import { DatabaseError } from '../errors.ts'
import { appendColumns, columnNames, type GroupParts } from './append-columns.ts'
import type { AppendOutcome } from './log.ts'
import type { LogRuntime } from './log-runtime.ts'
import { isExpected, type ReadyAppend } from './ready-append.ts'

/** What the function `append` said of a group. */
export interface Judgement {
  /** `fenced`: the call was settled before it came. Nothing was done unless it is `judged`. */
  readonly outcome: 'judged' | 'other_generation' | 'fenced'
  /** Null when nothing was appended. */
  readonly xid: string | null
  /** The last position before the append. */
  readonly head: number
  /** 0 appended, 1 conflict, 2 stale, 3 duplicate. */
  readonly verdicts: readonly number[]
  /** Of all streams of all requests, before the append. */
  readonly versions: readonly number[]
  /** Sync projections that did not move along. */
  readonly behind: readonly number[] | null
}

/** Sends a group in one statement, under an id by which it can be settled if the answer is lost. */
export async function sendAppend(
  { database, schema, generation }: LogRuntime,
  call: string,
  group: readonly ReadyAppend[],
  companion: GroupParts | undefined,
): Promise<Judgement> {
  const columns = appendColumns(group, companion)
  const values = [call, generation(), group.length, ...columnNames.map((name) => columns[name])]
  const { rows } = await database.query<Judgement>(appendText(schema), values, { prepare: true })
  const judgement = rows[0]
  if (!judgement) throw new DatabaseError('XX000', 'the function append answered nothing')
  return judgement
}

const texts = new Map<string, string>()

function appendText(schema: string): string {
  const known = texts.get(schema)
  if (known !== undefined) return known
  const parameters = Array.from({ length: columnNames.length + 3 }, (_, i) => `$${i + 1}`)
  const text = `select outcome, xid, head, verdicts, versions, behind from ${quote(schema)}.append(${parameters.join(', ')})`
  texts.set(schema, text)
  return text
}

/** What became of each request of a group that was judged. */
export function outcomesOf({ xid, head, verdicts, versions }: Judgement, group: readonly ReadyAppend[]): readonly AppendOutcome[] {
  let position = head
  let entry = 0
  return group.map((ready, i) => {
    const own = versions.slice(entry, entry + ready.streams.length)
    entry += ready.streams.length
    if (verdicts[i] === 1) return conflictOf(ready, own)
    if (verdicts[i] === 2) return { status: 'stale' }
    if (verdicts[i] === 3) return { status: 'duplicate' }
    position += ready.events.length
    return {
      status: 'appended',
      position,
      versions: own.map((version, k) => version + (ready.request.streams[k]?.events.length ?? 0)),
      xid: xid ?? '',
    }
  })
}

function conflictOf({ request }: ReadyAppend, versions: readonly number[]): AppendOutcome {
  for (const [i, { aggregate, stream, expected }] of request.streams.entries()) {
    const actual = versions[i] ?? 0
    if (!isExpected(expected, actual)) return { status: 'conflict', aggregate, stream, expected, actual }
  }
  throw new DatabaseError('XX000', 'the function append saw a conflict where there is none')
}
