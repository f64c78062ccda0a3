import type { LogLevel } from './log.ts'

const againMs = 60_000

/** How loud to say that something keeps failing: as a warning when it begins and once a minute while it lasts, and for those who look closely each time. */
export class Repeats {
  #since: number | undefined
  #saidAt = Number.NEGATIVE_INFINITY

  /** It failed again. */
  failed(now: number): LogLevel {
    this.#since ??= now
    if (now - this.#saidAt < againMs) return 'debug'
    this.#saidAt = now
    return 'warn'
  }

  /** It works: for how long it did not, in milliseconds, if that was said. */
  over(now: number): number | undefined {
    const since = this.#since
    this.#since = undefined
    this.#saidAt = Number.NEGATIVE_INFINITY
    return since === undefined ? undefined : now - since
  }
}
