import type { Clock } from './clock.ts'

/** A bell within the process: whoever waits is woken by the next ring, or after a time. A ring is a hint, never the truth. */
export class Wake {
  #waiting: Set<() => void> = new Set()

  ring(): void {
    const waiting = this.#waiting
    this.#waiting = new Set()
    for (const resolve of waiting) resolve()
  }

  /** Resolves at the next ring or after `ms`, whichever comes first. */
  async wait(clock: Clock, ms: number, signal?: AbortSignal): Promise<void> {
    const woken = new AbortController()
    const stop = () => woken.abort()
    this.#waiting.add(stop)
    signal?.addEventListener('abort', stop, { once: true })
    await clock.sleep(ms, woken.signal)
    signal?.removeEventListener('abort', stop)
    this.#waiting.delete(stop)
  }
}
