import type { Event } from '../message/event.ts'
import {
  type Batch,
  type Checkpoint,
  type Partitions,
  partitionOf,
  type RowChange,
  type Store,
  type StoredModel,
  type StoredRow,
} from '../read-model/store.ts'
import { type Entry, type Folding, foldEvent, indexTexts, nothing, type Routed, route } from './fold.ts'
import { RowCache } from './row-cache.ts'
import { storedRow } from './row-value.ts'

/** A key that was changed since the last batch: as it was in the store, and as it is now. */
interface Work {
  readonly was: Entry
  now: Entry
}

const loadMax = 5000

/**
 * The rows of a range of partitions while events are folded into them: those changed since the last batch, those in the batch that is on its way,
 * and those used lately. What it folds does not depend on how the events were cut into chunks.
 */
export class WorkingSet {
  readonly cache: RowCache
  readonly #folding: Folding
  readonly #model: StoredModel
  readonly #partitions: Partitions
  readonly #skipped: ReadonlySet<string>
  #changed = new Map<string, Work>()
  #underway = new Map<string, Work>()
  #rowBytes = 2000
  readonly #now: () => number
  #position: number
  #eventId: string | null
  /** When the checkpoint was last known to be this one's: rows that are remembered were right until then. */
  #provenAt: number

  constructor(options: {
    readonly folding: Folding
    readonly model: StoredModel
    readonly partitions: Partitions
    readonly skipped: ReadonlySet<string>
    readonly checkpoint: Checkpoint | null
    readonly cacheRows: number
    /** Milliseconds since 1970. */
    readonly now: () => number
  }) {
    this.#folding = options.folding
    this.#model = options.model
    this.#partitions = options.partitions
    this.#skipped = options.skipped
    this.#now = options.now
    this.#provenAt = options.now()
    this.#position = options.checkpoint?.position ?? 0
    this.#eventId = options.checkpoint?.eventId ?? null
    this.cache = new RowCache(options.cacheRows)
    this.cache.complete = this.#position === 0
  }

  /** What is folded, whether it is stored or not. */
  get reached(): Checkpoint {
    return { position: this.#position, eventId: this.#eventId }
  }

  /** Rows that wait to be written. */
  get changed(): number {
    return this.#changed.size
  }

  /** About how many bytes of JSON they are, by those of the last batch. */
  get changedBytes(): number {
    return this.#changed.size * this.#rowBytes
  }

  /**
   * Folds events that follow those it has. When one of them must stop the read model, those before it are folded, and the error is given back:
   * what is right is to be kept. `settled` waits until the batch that is on its way is written.
   */
  async fold(events: readonly Event[], store: Store, settled: () => Promise<unknown>): Promise<Error | undefined> {
    const { routed, last, stop } = this.#route(events)
    // Whether a store remembers a row that was deleted is its own affair; a change must say what it finds there.
    if (routed.some(({ keys }) => keys.some((key) => isDeleted(this.#underway.get(key)?.now)))) await settled()
    const loaded = await this.#load(routed, store)
    for (const one of routed) {
      try {
        for (const key of one.keys) this.#foldKey(one, key, loaded)
      } catch (error) {
        return error as Error
      }
      this.#position = one.position
      this.#eventId = one.event.id
    }
    // Those that were changed are remembered when they are written.
    for (const [key, entry] of loaded) if (entry !== nothing && !this.#changed.has(key)) this.cache.set(key, entry)
    if (last) {
      this.#position = last.position
      this.#eventId = last.id
    }
    return stop
  }

  /** The changes since the last batch, to be written now; they stay known until {@link written}. */
  take(from: Checkpoint | null): Batch {
    this.#underway = this.#changed
    this.#changed = new Map()
    const rows: RowChange[] = []
    const park: Batch['park'][number][] = []
    for (const [key, { was, now }] of this.#underway) {
      if (now.position !== was.position) rows.push(rowChange(this.#folding, key, was, now))
      if (now.parked && !was.parked) park.push({ key, ...now.parked })
    }
    if (rows.length > 0) this.#rowBytes = rows.reduce((sum, { row }) => sum + (row?.length ?? 0), 0) / rows.length
    return { partitions: this.#partitions, from, to: this.reached, rows, park, unpark: [], readAt: this.#provenAt }
  }

  /** The batch that was taken is in the store. */
  written(): void {
    this.#provenAt = this.#now()
    for (const [key, { now }] of this.#underway) {
      if (isDeleted(now)) this.cache.delete(key)
      else this.cache.set(key, now)
    }
    this.#underway = new Map()
  }

  /** Forgets keys that were changed in the store by other means. */
  forget(keys: Iterable<string>): void {
    for (const key of keys) this.cache.delete(key)
  }

  #foldKey(routed: Routed, key: string, loaded: ReadonlyMap<string, Entry>): void {
    const work = this.#changed.get(key)
    const before = work?.now ?? loaded.get(key) ?? nothing
    const after = foldNext({ folding: this.#folding, skipped: this.#skipped }, before, key, routed)
    if (after === before) return
    if (work) work.now = after
    else this.#changed.set(key, { was: before, now: after })
  }

  /** The events that handlers want, up to the first that must stop the read model. */
  #route(events: readonly Event[]): { routed: readonly Routed[]; last: Event | undefined; stop: Error | undefined } {
    const routed: Routed[] = []
    let last: Event | undefined
    for (const event of events) {
      try {
        const found = route(this.#folding, event)
        const keys = found?.keys.filter((key) => this.#owns(key)) ?? []
        if (found && keys.length > 0) routed.push({ event: found.event, keys, position: event.position })
      } catch (error) {
        return { routed, last, stop: error as Error }
      }
      last = event
    }
    return { routed, last, stop: undefined }
  }

  #owns(key: string): boolean {
    const { first, last } = this.#partitions
    if (first === 0 && last === 63) return true
    const partition = partitionOf(key)
    return partition >= first && partition <= last
  }

  async #load(routed: readonly Routed[], store: Store): Promise<ReadonlyMap<string, Entry>> {
    const loaded = new Map<string, Entry>()
    const missing = new Set<string>()
    for (const { keys } of routed) {
      for (const key of keys) {
        if (this.#changed.has(key) || loaded.has(key) || missing.has(key)) continue
        // Taken out of other hands: what the cache forgets, or what is written while others are loaded, must not be missed.
        const known = this.#underway.get(key)?.now ?? this.cache.get(key) ?? (this.cache.complete ? nothing : undefined)
        if (known) loaded.set(key, known)
        else missing.add(key)
      }
    }
    const all = [...missing]
    for (let i = 0; i < all.length; i += loadMax) {
      const keys = all.slice(i, i + loadMax)
      const { rows } = await store.load(this.#model, keys)
      for (const key of keys) loaded.set(key, nothing)
      for (const row of rows) loaded.set(row.key, entryOf(row))
    }
    return loaded
  }
}

function isDeleted(entry: Entry | undefined): boolean {
  return entry !== undefined && entry.row === undefined && entry.position > 0
}

/** A row as the store has it. */
export function entryOf({ row, position, version, parked }: StoredRow): Entry {
  return { row: row === undefined ? undefined : storedRow(row), position, version, parked }
}

export function rowChange(folding: Folding, key: string, was: Entry, now: Entry): RowChange {
  return {
    key,
    was: was.position,
    position: now.position,
    version: now.version,
    row: now.row ? JSON.stringify(now.row) : null,
    index: now.row ? indexTexts(folding, now.row, key) : [],
  }
}

/** How an event that a person took out of a key's fold is remembered. */
export function skipId(key: string, position: number): string {
  return `${position} ${key}`
}

/** What the next event makes of a key, if nobody took it out. */
export function foldNext(
  own: { readonly folding: Folding; readonly skipped: ReadonlySet<string> },
  entry: Entry,
  key: string,
  { event, position }: Routed,
): Entry {
  if (own.skipped.size === 0 || !own.skipped.has(skipId(key, position))) return foldEvent(own.folding, entry, key, event, position)
  if (entry.parked || position <= entry.position || !own.folding.consecutive || !entry.row) return entry
  return { ...entry, position, version: event.version }
}
