import { type Entry, nothing } from './fold.ts'

/** What is known of one key while events are folded into it. */
export interface Slot {
  readonly key: string
  /** With everything folded into it so far. */
  entry: Entry
  /** As it was before the first event since the last batch; undefined: no event changed it since. */
  was: Entry | undefined
  /** Whether it is in the batch that is on its way to the store. */
  isSent: boolean
  /** The sweep before which it was last asked for. */
  used: number
}

/**
 * The keys of a range while events are folded: those changed since the last batch, those in the batch that is on its way, and those used lately. What is
 * neither changed nor on its way is in the store as it is here.
 */
export class Slots {
  readonly #slots = new Map<string, Slot>()
  #sweeps = 0
  /** Whether a key that is not here is not in the store either: true from an empty store on until something was forgotten. */
  complete: boolean

  constructor(complete: boolean) {
    this.complete = complete
  }

  get size(): number {
    return this.#slots.size
  }

  get(key: string): Slot | undefined {
    const slot = this.#slots.get(key)
    if (slot) slot.used = this.#sweeps
    return slot
  }

  /** A key with nothing in it. */
  add(key: string): Slot {
    const slot: Slot = { key, entry: nothing, was: undefined, isSent: false, used: this.#sweeps }
    this.#slots.set(key, slot)
    return slot
  }

  delete(key: string): void {
    if (this.#slots.delete(key)) this.complete = false
  }

  /**
   * When there are more than `max`, forgets those that nobody asked for since the last sweep, and of the others the oldest if a quarter of the room is not
   * free then. What has yet to be written stays.
   */
  sweep(max: number): void {
    if (this.#slots.size <= max) return
    this.#forget(0, ({ used }) => used < this.#sweeps)
    this.#forget(max * 0.75, () => true)
    this.#sweeps++
  }

  #forget(down: number, isOld: (slot: Slot) => boolean): void {
    for (const slot of this.#slots.values()) {
      if (this.#slots.size <= down) return
      if (slot.was === undefined && !slot.isSent && isOld(slot)) this.delete(slot.key)
    }
  }
}
