import type { Clock } from './clock.ts'

export interface RetryOptions {
  readonly clock: Clock
  /** Tries in all. */
  readonly attempts: number
  /** The first pause; it doubles, with jitter of half its length. */
  readonly baseMs: number
  readonly maxMs: number
  readonly when: (error: unknown) => boolean
  readonly onRetry?: (error: unknown, attempt: number, pauseMs: number) => void
}

/** Runs `work` again while it fails in a way that `when` accepts. The last error is thrown as it was. */
export async function retry<T>(work: (attempt: number) => Promise<T>, options: RetryOptions): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await work(attempt)
    } catch (error) {
      if (attempt >= options.attempts || !options.when(error)) throw error
      const pause = pauseBefore(attempt, options)
      options.onRetry?.(error, attempt, pause)
      await options.clock.sleep(pause)
    }
  }
}

/** The pause after the given number of failures: exponential, between half and the whole of its length. */
export function pauseBefore(attempt: number, options: { readonly baseMs: number; readonly maxMs: number }): number {
  const full = Math.min(options.maxMs, options.baseMs * 2 ** (attempt - 1))
  return Math.round(full * (0.5 + Math.random() / 2))
}
