import type { Clock } from '../index.ts'

/** A clock that stands still until it is told to move. */
export interface ManualClock extends Clock {
  /**
   * Moves time on by `ms`. Sleeps that come due end one after another, in the order of their times (those of one time in the order
   * they began); between two of them whatever was waiting for the first gets to run, and what it sleeps for counts from there.
   */
  advance(ms: number): Promise<void>
  /** How many sleeps are going on. */
  readonly sleeping: number
}

interface Sleep {
  readonly until: number
  end(): void
}

/** Time for tests. Begins at `start` (milliseconds since 1970; default 2024-01-01). */
export function manualClock(start: number | Date = Date.UTC(2024, 0, 1)): ManualClock {
  let now = Number(start)
  const sleeps = new Set<Sleep>()

  const next = (limit: number): Sleep | undefined => {
    let first: Sleep | undefined
    for (const sleep of sleeps) if (sleep.until <= limit && (!first || sleep.until < first.until)) first = sleep
    return first
  }

  return {
    now: () => now,
    sleep: (ms, signal) =>
      new Promise((resolve) => {
        if (signal?.aborted) return resolve()
        const sleep: Sleep = { until: now + Math.max(0, ms), end }
        function end() {
          sleeps.delete(sleep)
          signal?.removeEventListener('abort', end)
          resolve()
        }
        signal?.addEventListener('abort', end, { once: true })
        sleeps.add(sleep)
      }),
    async advance(ms) {
      const limit = now + ms
      for (let sleep = next(limit); sleep; sleep = next(limit)) {
        now = Math.max(now, sleep.until)
        sleep.end()
        await settled()
      }
      now = limit
    },
    get sleeping() {
      return sleeps.size
    },
  }
}

/** Lets everything run that waits for nothing but promises. */
function settled(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve))
}
