import { UsageError } from '../errors.ts'
import { canonicalJson } from '../internal/json.ts'
import type { EventLog } from '../log/log.ts'
import { documentReader } from '../read-model/document-reader.ts'
import { keyText } from '../read-model/key-text.ts'
import { compareText } from '../read-model/order-text.ts'
import type { Reader } from '../read-model/read-model.ts'
import type { RangeRequest, RangeRow, Seen, Store, StoredRow } from '../read-model/store.ts'
import { type Entry, indexTexts, nothing } from './fold.ts'
import { keyEvents } from './key-events.ts'
import type { OwnProjection } from './own-projection.ts'
import type { Moment } from './projection-definition.ts'
import type { ProjectionRuntime } from './registry.ts'
import { foldNext } from './working-set.ts'

/** An event that made a row, and what it changed. */
export interface Change {
  readonly position: number
  readonly eventId: string
  readonly type: string
  readonly stream: string
  /** Undefined for a sync projection, whose events have none. */
  readonly data: unknown
  readonly before: unknown
  readonly after: unknown
  /** The members of the row that are not what they were. */
  readonly changed: readonly string[]
  /** Why the key was parked here. */
  readonly parked: string | undefined
}

const rowsMax = 100_000

/**
 * The read model as it was, folded from the log when it is asked: a key from its own events, `find` from all of them, as long as there are no more than
 * 100,000 rows.
 */
export function asOf(runtime: ProjectionRuntime, own: OwnProjection, moment: Moment): Reader {
  const upTo = positionAt(runtime.eventLog, moment)
  // Not asked for before something is read; then whoever reads is told.
  upTo.catch(() => undefined)
  return documentReader(new PastStore(runtime, own, upTo), own.model, { check: 'strict' })
}

/** Every event that made a key's row, in order, with what each changed; up to what is stored now. */
export async function why(runtime: ProjectionRuntime, own: OwnProjection, key: unknown): Promise<readonly Change[]> {
  const text = keyText(key)
  const { checkpoint } = await own.store.load(own.model, [])
  const changes: Change[] = []
  let entry = nothing
  for await (const routed of keyEvents(runtime.eventLog, own.folding, new Set([text]), { after: 0, upTo: checkpoint?.position ?? 0 })) {
    for (const one of routed) {
      const after = foldNext(own, entry, text, one)
      if (after !== entry) {
        changes.push({
          position: one.position,
          eventId: one.event.id,
          type: one.event.type,
          stream: one.event.stream,
          data: one.event.data,
          before: entry.row,
          after: after.row,
          changed: membersChanged(entry.row, after.row),
          parked: after.parked?.reason,
        })
      }
      entry = after
    }
  }
  return changes
}

function membersChanged(before: object = {}, after: object = {}): readonly string[] {
  const [a, b] = [before as Record<string, unknown>, after as Record<string, unknown>]
  return [...new Set([...Object.keys(a), ...Object.keys(b)])].filter((name) => canonicalJson(a[name]) !== canonicalJson(b[name]))
}

/** The last position that a moment includes. */
async function positionAt(eventLog: EventLog, moment: Moment): Promise<number> {
  const { position: head } = await eventLog.head()
  if ('position' in moment) {
    if (!(Number.isSafeInteger(moment.position) && moment.position >= 0)) throw new UsageError('asOf takes { position } or { time }')
    if (moment.position > head) throw new UsageError(`asOf: position ${moment.position} is ahead of the log, which ends at ${head}`)
    return moment.position
  }
  const time = new Date(moment.time).getTime()
  if (Number.isNaN(time)) throw new UsageError(`asOf: ${JSON.stringify(moment.time)} is no time`)
  const text = typeof moment.time === 'string' ? exact(moment.time) : moment.time.toISOString()
  // Times never go back along the log, so the place can be halved down to.
  let [low, high] = [0, head]
  while (low < high) {
    const middle = (low + high + 1) >> 1
    const [event] = await eventLog.read({ after: middle - 1, limit: 1 })
    if (event && compareTimes(event.time, text) <= 0) low = middle
    else high = middle - 1
  }
  return low
}

/** A time of the log keeps its microseconds. */
function exact(time: string): string {
  return /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z$/.test(time) ? time : new Date(time).toISOString()
}

function compareTimes(a: string, b: string): number {
  const pad = (time: string) => {
    const [seconds = '', fraction = ''] = time.replace('Z', '').split('.')
    return `${seconds}.${fraction.padEnd(9, '0')}`
  }
  return compareText(pad(a), pad(b))
}

/** What a store would have held. */
class PastStore implements Store {
  readonly description = 'the log'
  readonly #runtime: ProjectionRuntime
  readonly #own: OwnProjection
  readonly #upTo: Promise<number>
  #all: Promise<ReadonlyMap<string, Entry>> | undefined

  constructor(runtime: ProjectionRuntime, own: OwnProjection, upTo: Promise<number>) {
    this.#runtime = runtime
    this.#own = own
    this.#upTo = upTo
  }

  async load(_model: unknown, keys: readonly string[]): Promise<Seen<StoredRow>> {
    const folded = await this.#fold(new Set(keys))
    const rows = [...folded].map(([key, { row, position, version, parked }]) => ({
      key,
      row: row && JSON.stringify(row),
      position,
      version,
      parked,
    }))
    return await this.#seen(rows, folded)
  }

  async range(_model: unknown, { index, from, to, reverse, limit }: RangeRequest): Promise<Seen<RangeRow>> {
    this.#all ??= this.#fold(undefined)
    const all = await this.#all
    const rows = [...all].flatMap(([key, { row, position }]) => {
      if (!row) return []
      const at = index === undefined ? key : (indexTexts(this.#own.folding, row, key)[index] ?? '')
      return compareText(at, from) >= 0 && compareText(at, to) < 0 ? [{ key, row: JSON.stringify(row), position, at }] : []
    })
    rows.sort((a, b) => (reverse ? compareText(b.at, a.at) : compareText(a.at, b.at)))
    return await this.#seen(rows.slice(0, limit), all)
  }

  apply(): never {
    throw new UsageError('the past is not written to')
  }

  drop(): never {
    throw new UsageError('the past is not dropped')
  }

  async #seen<T>(rows: readonly T[], folded: ReadonlyMap<string, Entry>): Promise<Seen<T>> {
    const position = await this.#upTo
    return { checkpoint: { position, eventId: null }, rows, parked: [...folded.values()].filter(({ parked }) => parked).length }
  }

  async #fold(keys: ReadonlySet<string> | undefined): Promise<ReadonlyMap<string, Entry>> {
    const folded = new Map<string, Entry>()
    for await (const routed of keyEvents(this.#runtime.eventLog, this.#own.folding, keys, { after: 0, upTo: await this.#upTo })) {
      for (const one of routed) for (const key of one.keys) folded.set(key, foldNext(this.#own, folded.get(key) ?? nothing, key, one))
      if (folded.size > rowsMax) {
        throw new UsageError(
          `${this.#own.version.name}: as of a past position it has more than ${rowsMax} rows, too many to find among; ask for keys`,
        )
      }
    }
    return folded
  }
}
