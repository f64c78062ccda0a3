import { performance } from 'node:perf_hooks'

const windowMs = 100
const restMs = 2000
/** Of an event loop's time: above the first it is worth trying a second lane, below the second one did not help. */
const busy = 0.5
const full = 0.75

/**
 * How many groups may be under way at once. With two, the server is at work on one while this process takes in the answers of the other, which is worth the
 * smaller groups only while the process itself is what everything waits for: with a second lane it must be busy nearly all the time. Where it is not,
 * because the server or the whole machine has too much to do, there is one lane again, and another try after two seconds.
 */
export class Lanes {
  #two = false
  #restUntil = 0
  #judgedAt = performance.now()
  #seen = performance.eventLoopUtilization()

  /** 1 or 2, for now. */
  allowed(): number {
    const now = performance.now()
    if (now - this.#judgedAt >= windowMs) this.#judge(now)
    return this.#two ? 2 : 1
  }

  #judge(now: number): void {
    const seen = performance.eventLoopUtilization()
    const { utilization } = performance.eventLoopUtilization(seen, this.#seen)
    this.#seen = seen
    this.#judgedAt = now
    if (this.#two && utilization < full) {
      this.#two = false
      this.#restUntil = now + restMs
    } else if (now >= this.#restUntil) this.#two = this.#two || utilization > busy
  }
}
