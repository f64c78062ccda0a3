import { Turns } from '../internal/turns.ts'
import { Beginnings } from './beginnings.ts'

/** The state of a stream after its first `version` events. */
export interface HeldState {
  readonly state: unknown
  readonly version: number
  /** The version of the newest snapshot that is known of; 0 when there is none. */
  readonly snapshotVersion: number
}

interface Entry {
  held: HeldState
  bytes: number
  /** The version at which `bytes` was counted. */
  countedAt: number
}

const entryBytes = 200
const entriesDefault = 100_000
const bytesDefault = 64 * 1024 * 1024

/**
 * States of streams that this process used last, so that a hot stream is not read again. What is here may be old: an append checks version and
 * generation, and whoever decides without an append looks for newer events first. Drop it all with {@link clear} whenever a connection was
 * lost: the database that answers next may not be the one that the states came from.
 */
export class StateCache {
  /** Commands on one stream in this process take turns, so that they do not conflict with each other. */
  readonly turns = new Turns()
  readonly beginnings = new Beginnings()
  readonly #entriesMax: number
  readonly #bytesMax: number
  /** The least recently used first. */
  readonly #entries = new Map<string, Entry>()
  /** Stands behind what was dropped: one that began anew each time would pass over all of that again. */
  #oldest = this.#entries.keys()
  #bytes = 0
  #epoch = 0

  /** At most so many states, and about so many bytes (default 100,000 and 64 MiB); 0 entries: nothing is kept. */
  constructor(limits: { readonly entries?: number; readonly bytes?: number } = {}) {
    this.#entriesMax = limits.entries ?? entriesDefault
    this.#bytesMax = limits.bytes ?? bytesDefault
  }

  /** Grows with each {@link clear}. Take it before a read, and give it back with what was read. */
  get epoch(): number {
    return this.#epoch
  }

  get(key: string): HeldState | undefined {
    const entry = this.#entries.get(key)
    if (!entry) return undefined
    this.#entries.delete(key)
    this.#entries.set(key, entry)
    return entry.held
  }

  /** Keeps a state that was read in `epoch`; one from before the last {@link clear} is not kept. */
  put(key: string, held: HeldState, epoch: number): void {
    if (epoch !== this.#epoch) return
    const before = this.#entries.get(key)
    const entry = before && !outgrown(before, held) ? { ...before, held } : counted(key, held)
    this.#drop(key)
    this.#entries.set(key, entry)
    this.#bytes += entry.bytes
    while (this.#entries.size > this.#entriesMax || this.#bytes > this.#bytesMax) this.#dropOldest()
  }

  delete(key: string): void {
    this.#drop(key)
  }

  /** Forgets everything, also what is being read at this moment. */
  clear(): void {
    this.#epoch++
    this.#entries.clear()
    this.#oldest = this.#entries.keys()
    this.#bytes = 0
  }

  get size(): number {
    return this.#entries.size
  }

  /** About so many bytes are held. */
  get bytes(): number {
    return this.#bytes
  }

  #dropOldest(): void {
    let next = this.#oldest.next()
    if (next.done) {
      this.#oldest = this.#entries.keys()
      next = this.#oldest.next()
    }
    if (!next.done) this.#drop(next.value)
  }

  #drop(key: string): void {
    const entry = this.#entries.get(key)
    if (!entry) return
    this.#entries.delete(key)
    this.#bytes -= entry.bytes
  }
}

/** Counting costs a walk through the state, so it is done again only when the stream has grown by a quarter. */
function outgrown({ countedAt }: Entry, { version }: HeldState): boolean {
  return version < countedAt || version > countedAt * 1.25 + 16
}

function counted(key: string, held: HeldState): Entry {
  return { held, bytes: entryBytes + 2 * key.length + bytesOf(held.state, new Set()), countedAt: held.version }
}

function bytesOf(value: unknown, seen: Set<object>): number {
  if (typeof value === 'string') return 16 + 2 * value.length
  if (typeof value !== 'object' || value === null) return 8
  if (seen.has(value)) return 8
  seen.add(value)
  let bytes = 32
  if (value instanceof Map || value instanceof Set) {
    for (const item of value.keys()) bytes += 16 + bytesOf(item, seen)
    if (value instanceof Map) for (const item of value.values()) bytes += bytesOf(item, seen)
    return bytes
  }
  for (const item of Object.values(value)) bytes += 8 + bytesOf(item, seen)
  return bytes
}
