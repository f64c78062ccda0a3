import type { Clock } from '../internal/clock.ts'
import { pauseBefore } from '../internal/retry.ts'
import { Wake } from '../internal/wake.ts'
import type { EventLog } from '../log/log.ts'
import type { Event } from '../message/event.ts'

/** Who takes events from the feed. */
export interface Subscriber {
  /** Events as they stand in the log, all of them, in order. */
  offer(events: readonly Event[]): void
  /** How many it has yet to take in. */
  readonly waiting: number
}

export interface FeedOptions {
  readonly eventLog: EventLog
  readonly clock: Clock
  readonly pollIntervalMs: number
  readonly onError: (error: unknown, pauseMs: number) => void
}

const limit = 1000
const roomFor = 2000

/**
 * One reading of the end of the log for everybody in this process who is there. It is woken by appends of this process and looks by itself
 * every poll interval. Whoever falls behind leaves and reads for himself, so that nobody waits for him.
 */
export class Feed {
  readonly #options: FeedOptions
  readonly #subscribers = new Set<Subscriber>()
  readonly #work = new Wake()
  readonly #stop = new AbortController()
  #position = 0
  #loop: Promise<void> | undefined
  #woken = false

  constructor(options: FeedOptions) {
    this.#options = options
  }

  /**
   * Joins at a position, if the feed is not past it, and says where the feed is: what it gives before that is for the subscriber to pass over.
   * Undefined: read on for yourself and come again.
   */
  join(subscriber: Subscriber, position: number): number | undefined {
    if (this.#subscribers.size === 0) this.#position = position
    else if (this.#position > position) return undefined
    this.#subscribers.add(subscriber)
    this.#loop ??= this.#run()
    this.wake()
    return this.#position
  }

  leave(subscriber: Subscriber): void {
    this.#subscribers.delete(subscriber)
  }

  /** There may be new events. */
  wake(): void {
    this.#woken = true
    this.#work.ring()
  }

  async stop(): Promise<void> {
    this.#stop.abort()
    this.wake()
    await this.#loop
  }

  async #run(): Promise<void> {
    const { clock, pollIntervalMs } = this.#options
    let failures = 0
    while (!this.#stop.signal.aborted) {
      let more = false
      try {
        more = await this.#read()
        failures = 0
      } catch (error) {
        const pause = pauseBefore(++failures, { baseMs: 200, maxMs: 10_000 })
        this.#options.onError(error, pause)
        await clock.sleep(pause, this.#stop.signal)
      }
      if (!more && !this.#woken && !this.#stop.signal.aborted) await this.#work.wait(clock, pollIntervalMs, this.#stop.signal)
    }
  }

  async #read(): Promise<boolean> {
    this.#woken = false
    if (this.#subscribers.size === 0 || this.#full()) return false
    const from = this.#position
    const events = await this.#options.eventLog.read({ after: from, limit })
    // Everybody may have left meanwhile, and others joined elsewhere.
    if (this.#position !== from) return true
    const last = events.at(-1)
    if (!last) return false
    this.#position = last.position
    for (const subscriber of this.#subscribers) subscriber.offer(events)
    return true
  }

  /** Nobody has room: reading on would only drive them out. Each tells by waking the feed when he has. */
  #full(): boolean {
    return this.#subscribers.size > 0 && [...this.#subscribers].every(({ waiting }) => waiting > roomFor)
  }
}
