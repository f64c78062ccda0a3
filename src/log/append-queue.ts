import { limits, type ReadyAppend } from './ready-append.ts'

/** Something that waits to be appended. */
export interface Waiting {
  readonly ready: ReadyAppend
}

/** How far a group looks for requests past those that have to wait. */
const lookMax = 2000

/**
 * Requests in the order of their arrival, taken in groups. No two requests of a group, or of groups that are under way at the same time, have a
 * stream or a key in common, since each is judged by what is stored; of those that have, the later one waits for a later group, and so do all
 * behind it that touch what it touches.
 */
export class AppendQueue<T extends Waiting> {
  #waiting: T[] = []
  /** What groups that are under way touch. */
  readonly #touched = new Set<string>()

  get length(): number {
    return this.#waiting.length
  }

  push(request: T): void {
    this.#waiting.push(request)
  }

  /**
   * The next group: what came first and what may go with it, up to the limits and `most` requests. Empty only when nothing waits that could go
   * before a group under way is {@link ended}.
   */
  take(most = Number.POSITIVE_INFINITY): readonly T[] {
    const group: T[] = []
    const later: T[] = []
    const touched = new Set(this.#touched)
    let events = 0
    let bytes = 0
    let looked = 0
    for (const request of this.#waiting) {
      const { ready } = request
      const fits = group.length === 0 || (events + weight(ready) <= limits.events && bytes + ready.bytes <= limits.bytes)
      if (!fits || looked === lookMax || group.length >= most) break
      looked++
      const touches = touchedBy(ready)
      const free = !touches.some((name) => touched.has(name))
      for (const name of touches) touched.add(name)
      if (!free) {
        later.push(request)
        continue
      }
      group.push(request)
      events += weight(ready)
      bytes += ready.bytes
    }
    this.#waiting = later.concat(this.#waiting.slice(looked))
    for (const { ready } of group) for (const name of touchedBy(ready)) this.#touched.add(name)
    return group
  }

  /** A group that was taken is not under way any more. */
  ended(group: readonly T[]): void {
    for (const { ready } of group) for (const name of touchedBy(ready)) this.#touched.delete(name)
  }
}

/** Streams and keys cannot be mistaken for one another: only a key holds U+0000. */
function touchedBy({ streams, key }: ReadyAppend): readonly string[] {
  return key === undefined ? streams : [...streams, key]
}

/** A request counts as one event at least, so that many without events do not make an endless group. */
function weight({ events }: ReadyAppend): number {
  return Math.max(1, events.length)
}
