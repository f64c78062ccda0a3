import type { Batch, Parked, RowChange } from './store.ts'

/**
 * How a row that its store cannot hold sets its key aside, so that the others go on. Which of its events made it so is not known here: none up to
 * where the row stands, nor, of a key that is not parked, any before the batch.
 */
export function refusedRow({ from, unpark }: Batch, { key, was, position }: RowChange, reason: string): Parked & { readonly key: string } {
  const floor = was === undefined ? position - 1 : Math.max(was, unpark.includes(key) ? 0 : (from?.position ?? 0))
  return { key, position: Math.min(floor + 1, position), eventId: null, reason }
}
