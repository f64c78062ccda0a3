import { Breather } from '../internal/breather.ts'
import type { Event } from '../message/event.ts'
import {
  type Batch,
  type Checkpoint,
  type Partitions,
  partitionCount,
  partitionOf,
  type RowChange,
  type Store,
  type StoredModel,
  type StoredRow,
} from '../read-model/store.ts'
import { type Entry, type Folding, foldEvent, indexTexts, type Routed, route } from './fold.ts'
import { storedRow } from './row-value.ts'
import { type Slot, Slots } from './slots.ts'

const loadMax = 5000
/** About how much JSON is remembered of rows that were used lately. */
const cacheBytes = 64 * 2 ** 20

/** The rows of a range of partitions while events are folded into them. What it folds does not depend on how the events were cut into chunks. */
export class WorkingSet {
  readonly #folding: Folding
  readonly #model: StoredModel
  readonly #partitions: Partitions
  readonly #isWhole: boolean
  readonly #skipped: ReadonlySet<string>
  readonly #cacheRows: number
  readonly #slots: Slots
  #changed: Slot[] = []
  #underway: readonly Slot[] = []
  /** Keys that were parked before, and have events among those folded since the last batch. */
  #passedOver = new Set<string>()
  /** Keys that the batch on its way deletes. */
  #deleting = 0
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
    /** Whether a store that stands at nothing may hold rows: what a first batch left that broke off. */
    readonly mayHoldRows: boolean
    /** How many rows are remembered after they were written; of large rows fewer. */
    readonly cacheRows: number
    /** Milliseconds since 1970. */
    readonly now: () => number
  }) {
    this.#folding = options.folding
    this.#model = options.model
    this.#partitions = options.partitions
    this.#isWhole = options.partitions.first === 0 && options.partitions.last === partitionCount - 1
    this.#skipped = options.skipped
    this.#cacheRows = options.cacheRows
    this.#now = options.now
    this.#provenAt = options.now()
    this.#position = options.checkpoint?.position ?? 0
    this.#eventId = options.checkpoint?.eventId ?? null
    this.#slots = new Slots(this.#position === 0 && !options.mayHoldRows)
  }

  /** What is folded, whether it is stored or not. */
  get reached(): Checkpoint {
    return { position: this.#position, eventId: this.#eventId }
  }

  /** Rows that wait to be written. */
  get changed(): number {
    return this.#changed.length
  }

  /** About how many bytes of JSON they are, by those of the last batch. */
  get changedBytes(): number {
    return this.#changed.length * this.#rowBytes
  }

  /**
   * Folds events that follow those it has. When one of them must stop the read model, those before it are folded, and the error is given back:
   * what is right is to be kept. Everything else of the process has its turns meanwhile, however slow the handlers are. `settled` waits until the batch that is on its way is written.
   */
  async fold(events: readonly Event[], store: Store, settled: () => Promise<unknown>): Promise<Error | undefined> {
    const breather = new Breather()
    const { routed, last, stop } = await this.#route(events, breather)
    // Whether a store remembers a row that was deleted is its own affair; a change must say what it finds there.
    if (this.#deleting > 0 && this.#meetsDeleted(routed)) await settled()
    const slots = await this.#slotsOf(routed, store)
    const own = { folding: this.#folding, skipped: this.#skipped }
    let next = 0
    for (const one of routed) {
      if (breather.isDue()) await breather.take()
      try {
        for (let i = 0; i < one.keys.length; i++) this.#foldInto(slots[next++] as Slot, one, own)
      } catch (error) {
        return error as Error
      }
      this.#position = one.position
      this.#eventId = one.event.id
    }
    if (last) {
      this.#position = last.position
      this.#eventId = last.id
    }
    return stop
  }

  /** The changes since the last batch, to be written now; they stay known until {@link written}. */
  take(from: Checkpoint | null): Batch {
    this.#underway = this.#changed
    this.#changed = []
    this.#deleting = 0
    const stillParked = [...this.#passedOver]
    this.#passedOver.clear()
    const rows: RowChange[] = []
    const park: Batch['park'][number][] = []
    let bytes = 0
    for (const slot of this.#underway) {
      const { key, entry: now, was = now } = slot
      if (now.position !== was.position) {
        const change = rowChange(this.#folding, key, was, now)
        bytes += change.row?.length ?? 0
        rows.push(change)
      }
      if (now.parked && !was.parked) park.push({ key, ...now.parked })
      if (isDeleted(now)) this.#deleting++
      slot.was = undefined
      slot.isSent = true
    }
    if (rows.length > 0) this.#rowBytes = bytes / rows.length
    return { partitions: this.#partitions, from, to: this.reached, rows, park, unpark: [], stillParked, readAt: this.#provenAt }
  }

  /** The batch that was taken is in the store. */
  written(): void {
    this.#provenAt = this.#now()
    for (const slot of this.#underway) {
      slot.isSent = false
      if (isDeleted(slot.entry) && slot.was === undefined) this.#slots.delete(slot.key)
    }
    this.#underway = []
    this.#deleting = 0
  }

  /** Forgets keys that were changed in the store by other means. */
  forget(keys: Iterable<string>): void {
    for (const key of keys) this.#slots.delete(key)
  }

  #foldInto(slot: Slot, routed: Routed, own: { readonly folding: Folding; readonly skipped: ReadonlySet<string> }): void {
    const before = slot.entry
    const after = foldNext(own, before, slot.key, routed)
    if (after === before) {
      if (before.parked && slot.was === undefined && routed.position > before.position) this.#passedOver.add(slot.key)
      return
    }
    slot.entry = after
    if (slot.was !== undefined) return
    slot.was = before
    this.#changed.push(slot)
  }

  /** The events that handlers want, up to the first that must stop the read model. */
  async #route(
    events: readonly Event[],
    breather: Breather,
  ): Promise<{ routed: readonly Routed[]; last: Event | undefined; stop: Error | undefined }> {
    const routed: Routed[] = []
    let last: Event | undefined
    for (const event of events) {
      if (breather.isDue()) await breather.take()
      try {
        const found = route(this.#folding, event)
        const own = !found || this.#isWhole ? found : { ...found, keys: found.keys.filter((key) => this.#owns(key)) }
        if (own && own.keys.length > 0) routed.push(own)
      } catch (error) {
        return { routed, last, stop: error as Error }
      }
      last = event
    }
    return { routed, last, stop: undefined }
  }

  #owns(key: string): boolean {
    const { first, last } = this.#partitions
    const partition = partitionOf(key)
    return partition >= first && partition <= last
  }

  #meetsDeleted(routed: readonly Routed[]): boolean {
    const isGone = (slot: Slot | undefined) => slot?.isSent === true && isDeleted(slot.entry)
    return routed.some(({ keys }) => keys.some((key) => isGone(this.#slots.get(key))))
  }

  /** The slots of the events' keys, in their order; what is not known of them is loaded. */
  async #slotsOf(routed: readonly Routed[], store: Store): Promise<readonly Slot[]> {
    this.#slots.sweep(Math.min(this.#cacheRows, Math.max(1000, cacheBytes / this.#rowBytes)))
    const found: Slot[] = []
    const missing: Slot[] = []
    for (const { keys } of routed) {
      for (const key of keys) {
        let slot = this.#slots.get(key)
        if (!slot) {
          slot = this.#slots.add(key)
          if (!this.#slots.complete) missing.push(slot)
        }
        found.push(slot)
      }
    }
    if (missing.length > 0) await this.#load(missing, store)
    return found
  }

  async #load(slots: readonly Slot[], store: Store): Promise<void> {
    try {
      for (let i = 0; i < slots.length; i += loadMax) {
        const keys = slots.slice(i, i + loadMax).map(({ key }) => key)
        const { rows } = await store.load(this.#model, keys)
        for (const row of rows) {
          const slot = this.#slots.get(row.key)
          if (slot) slot.entry = entryOf(row)
        }
      }
    } catch (error) {
      for (const { key } of slots) this.#slots.delete(key)
      throw error
    }
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
