import type { SqlClient } from '../database/database.ts'
import { quote } from '../database/identifier.ts'
import type { AppendCompanion, AppendOutcome, AppendRequest, CompanionGroup, CompanionPart, CompanionRow } from '../log/log.ts'
import type { Event } from '../message/event.ts'
import { type Entry, type Folding, indexTexts, keysOf, nothing, step } from './fold.ts'
import type { OwnProjection } from './own-projection.ts'
import type { ProjectionRuntime } from './registry.ts'
import { RowCache } from './row-cache.ts'
import { freeze } from './row-value.ts'
import { withheld } from './withheld.ts'
import { entryOf } from './working-set.ts'

/** Events a sync projection may lack and still be folded with appends: it is being brought to the head, and the next append may find it there. */
const gapMax = 500
const cacheRows = 20_000

interface Kept {
  readonly own: OwnProjection
  readonly cache: RowCache
  gap: number
}

/** A key as the requests of a group change it, one after the other. */
interface Chained {
  readonly entry: Entry
  /** The position of the stored row; null when an earlier request changed it. */
  readonly was: number | null
  /** Requests that it stands on. */
  readonly needs: ReadonlySet<number>
}

/** What is remembered of a request until it was judged. */
interface Pending {
  readonly projection: number
  readonly key: string
  readonly entry: Entry
  /** Which event of the request folded last into it. */
  readonly event: number
}

/** An event of a request, and its number in it. */
interface Numbered {
  readonly event: Event
  readonly number: number
}

interface NumberedKeys extends Numbered {
  readonly keys: readonly string[]
}

/**
 * Folds sync projections with the appends of this process: rows are folded before the append, travel in it, and are written only if they are still
 * what the fold started from. Rows that were used lately are kept, since the append finds out when one is old.
 */
export class SyncCompanion implements AppendCompanion {
  readonly #runtime: ProjectionRuntime
  readonly #onLeft: () => void
  #kept: readonly Kept[] = []

  constructor(runtime: ProjectionRuntime, options: { readonly onLeft: () => void }) {
    this.#runtime = runtime
    this.#onLeft = options.onLeft
  }

  /** The sync projections that this process runs now. */
  keep(projections: readonly OwnProjection[]): void {
    this.#kept = projections.map((own) => {
      const known = this.#kept.find((one) => one.own.version.id === own.version.id)
      return { own, cache: known?.cache ?? new RowCache(cacheRows), gap: known?.gap ?? 0 }
    })
  }

  /** How many events a projection lacks, as last seen. */
  seen(id: number, gap: number): void {
    const kept = this.#kept.find(({ own }) => own.version.id === id)
    if (kept) kept.gap = gap
  }

  /** Forgets all rows: a connection was lost, or the database is not the one it was. */
  clear(): void {
    for (const { cache } of this.#kept) cache.clear()
  }

  get oneByOne(): boolean {
    return this.#kept.length > 0
  }

  async prepare(requests: readonly AppendRequest[]): Promise<CompanionGroup> {
    const { projections, made } = await this.#prepare(this.#runtime.database, requests, true)
    return {
      projections,
      parts: made.map((one) => (one instanceof Error ? one : one.part)),
      settled: (outcomes, left) => {
        for (const [i, one] of made.entries()) {
          const events = requests[i]?.streams.reduce((sum, { events }) => sum + events.length, 0) ?? 0
          if (!(one instanceof Error)) this.#remember(one.pending, outcomes[i], events, left)
        }
        this.#leave(left)
      },
    }
  }

  /**
   * What sync projections add to events that a command over tables emits in its transaction. Nothing of it is remembered, so several may go on
   * beside each other and beside appends.
   * @throws what a handler throws: the command fails
   */
  async stage(
    transaction: SqlClient,
    request: AppendRequest,
  ): Promise<{ readonly projections: readonly number[]; readonly part: CompanionPart }> {
    const { projections, made } = await this.#prepare(transaction, [request], false)
    const [one] = made
    if (one instanceof Error) throw one
    return { projections, part: one?.part ?? { rows: [], needs: [] } }
  }

  /** After a staged append: rows that were remembered are old. `left` as in {@link CompanionGroup}. */
  unstage({ rows }: CompanionPart, left: readonly number[]): void {
    for (const { projection, key } of rows) this.#kept.find(({ own }) => own.version.id === projection)?.cache.delete(key)
    if (left.length > 0) this.#onLeft()
  }

  async #prepare(client: SqlClient, requests: readonly AppendRequest[], remember: boolean) {
    const kept = this.#kept.filter(({ gap }) => gap <= gapMax)
    if (kept.length === 0) return { projections: [], made: requests.map(() => ({ part: { rows: [], needs: [] }, pending: [] })) }
    const routed = requests.map((request) => attempt(() => routedBy(kept, eventsOf(request))))
    const rows = await this.#load(client, kept, routed, remember)
    const chains = kept.map(() => new Map<string, Chained>())
    const made = routed.map((perProjection, i) =>
      perProjection instanceof Error ? perProjection : attempt(() => this.#fold(kept, perProjection, rows, chains, i)),
    )
    return { projections: kept.map(({ own }) => own.version.id), made }
  }

  /** The rows of a request that was appended are what is stored now; of any other it is not known. */
  #remember(pending: readonly Pending[], outcome: AppendOutcome | Error | undefined, events: number, left: readonly number[]): void {
    const appended = outcome !== undefined && !(outcome instanceof Error) && outcome.status === 'appended'
    for (const { projection, key, entry, event } of pending) {
      const cache = this.#kept.find(({ own }) => own.version.id === projection)?.cache
      if (!appended || left.includes(projection) || entry.parked) cache?.delete(key)
      else cache?.set(key, { ...entry, position: entry.row ? outcome.position - events + event + 1 : 0 })
    }
  }

  #leave(left: readonly number[]): void {
    for (const id of left) this.#kept.find(({ own }) => own.version.id === id)?.cache.clear()
    if (left.length > 0) this.#onLeft()
  }

  /** One request over all projections: what it changes counts only if none of their handlers fails. */
  #fold(
    kept: readonly Kept[],
    perProjection: readonly (readonly NumberedKeys[])[],
    rows: readonly ReadonlyMap<string, Entry>[],
    chains: readonly Map<string, Chained>[],
    request: number,
  ): { readonly part: CompanionPart; readonly pending: readonly Pending[] } {
    const made: CompanionRow[] = []
    const pending: Pending[] = []
    const needs = new Set<number>()
    const changes: (() => void)[] = []
    for (const [p, { own }] of kept.entries()) {
      const touched = new Map<string, Chained & { readonly last: Numbered }>()
      for (const one of perProjection[p] ?? []) {
        for (const key of one.keys) {
          const before = touched.get(key) ?? chains[p]?.get(key) ?? stored(rows[p]?.get(key))
          const entry = before.entry.parked ? before.entry : step(own.folding, before.entry, key, one.event, { position: 0, version: 0 })
          touched.set(key, { ...before, entry, last: one })
        }
      }
      // Also of keys that were left as they are: that they were may have depended on a row that is not the one any more.
      for (const [key, { entry, was, needs: stood, last }] of touched) {
        for (const need of stood) needs.add(need)
        made.push(companionRow(own, key, entry, was, last))
        pending.push({ projection: own.version.id, key, entry: withVersion(own.folding, entry, last.event), event: last.number })
        // With all that this request stands on, whatever key it is for: if one of those is refused, so is this one.
        changes.push(() => chains[p]?.set(key, { entry, was: null, needs: new Set([...needs, request]) }))
      }
    }
    for (const change of changes) change()
    return { part: { rows: made, needs: [...needs] }, pending }
  }

  /** The rows of all keys that are not at hand, of all projections, in one statement. */
  async #load(
    client: SqlClient,
    kept: readonly Kept[],
    routed: readonly (readonly (readonly NumberedKeys[])[] | Error)[],
    remember: boolean,
  ): Promise<readonly ReadonlyMap<string, Entry>[]> {
    const rows = kept.map(() => new Map<string, Entry>())
    const missing: { place: number; keys: string[] }[] = []
    for (const [place, { cache }] of kept.entries()) {
      const keys = new Set<string>()
      for (const perProjection of routed) {
        if (perProjection instanceof Error) continue
        for (const one of perProjection[place] ?? []) for (const key of one.keys) keys.add(key)
      }
      const absent = [...keys].filter((key) => {
        const known = cache.get(key)
        if (known) rows[place]?.set(key, known)
        return !known
      })
      if (absent.length > 0) missing.push({ place, keys: absent })
    }
    if (missing.length === 0) return rows
    const found = await this.#read(
      client,
      missing.map(({ place, keys }) => ({ own: (kept[place] as Kept).own, keys })),
    )
    for (const [i, { place, keys }] of missing.entries()) {
      for (const key of keys) {
        const entry = found[i]?.get(key) ?? nothing
        rows[place]?.set(key, entry)
        if (remember && !entry.parked) kept[place]?.cache.set(key, entry)
      }
    }
    return rows
  }

  async #read(
    client: SqlClient,
    wanted: readonly { readonly own: OwnProjection; readonly keys: readonly string[] }[],
  ): Promise<readonly ReadonlyMap<string, Entry>[]> {
    const s = quote(this.#runtime.schema)
    const parts = wanted.map(
      ({ own }, i) =>
        `select ${i} as n, k.key, t.row::text as row, coalesce(t.position, 0) as position, t.version, p.position as parked
         from unnest($${i + 1}::text[]) k(key) left join ${s}.${quote(own.version.table)} t on t.key = k.key
         left join ${s}.parked_key p on p.projection = ${Math.trunc(own.version.id)} and p.key = k.key`,
    )
    const { rows } = await client.query<readonly [number, string, string | null, number, number | null, number | null]>(
      parts.join(' union all '),
      wanted.map(({ keys }) => keys),
      { prepare: true, rowMode: 'array' },
    )
    const found = wanted.map(() => new Map<string, Entry>())
    for (const [n, key, row, position, version, parked] of rows) {
      const set = parked === null ? undefined : { position: parked, eventId: null, reason: '' }
      found[n]?.set(key, entryOf({ key, row: row ?? undefined, position, version, parked: set }))
    }
    return found
  }
}

function stored(entry: Entry = nothing): Chained {
  return { entry, was: entry.position, needs: new Set() }
}

/**
 * The row of a parked key is not written by an append: its events wait behind the one that failed. If it is not parked any more when the append looks,
 * what was folded here is wrong: no row ever stood at -1, so the request is decided again.
 */
function companionRow(
  { folding, version }: OwnProjection,
  key: string,
  entry: Entry,
  was: number | null,
  { event, number }: Numbered,
): CompanionRow {
  const row = entry.parked ? undefined : entry.row
  return {
    projection: version.id,
    key,
    was: entry.parked ? -1 : was,
    event: number,
    // Any number: the append puts in the version of the event.
    version: folding.key ? null : versionOf(event),
    row: row ? JSON.stringify(row) : null,
    index: row ? indexTexts(folding, row, key) : [],
  }
}

function withVersion(folding: Folding, entry: Entry, event: Event): Entry {
  return { ...entry, version: folding.key || !entry.row ? null : versionOf(event) }
}

function versionOf(event: Event): number {
  try {
    return event.version
  } catch {
    return 0
  }
}

function attempt<T>(work: () => T): T | Error {
  try {
    return work()
  } catch (error) {
    return error instanceof Error ? error : new Error(String(error))
  }
}

/** The events of a request as they will be read back. Their versions are known where the request says which one it expects. */
function eventsOf({ streams }: AppendRequest): readonly Numbered[] {
  let number = 0
  return streams.flatMap(({ aggregate, stream, expected, events }) =>
    events.map(({ id, type, schemaVersion, data, metadata }, i) => {
      const base = expected === 'no_stream' ? 0 : typeof expected === 'number' ? expected : undefined
      const plain: unknown = JSON.parse(JSON.stringify(data ?? null))
      freeze(plain)
      const event = {
        id,
        type,
        aggregate,
        stream,
        version: (base ?? 0) + i + 1,
        position: 0,
        time: '',
        schemaVersion,
        data: plain,
        metadata,
      }
      return { event: withheld(event, { version: base === undefined }), number: number++ }
    }),
  )
}

/** For each projection the events it handles. */
function routedBy(kept: readonly Kept[], events: readonly Numbered[]): readonly (readonly NumberedKeys[])[] {
  return kept.map(({ own: { folding } }) =>
    events
      .filter(({ event }) => folding.sources.has(event.aggregate) && folding.handlers.has(event.type))
      .map(({ event, number }) => ({ event, number, keys: keysOf(folding, event, undefined) })),
  )
}
