import type { TokenWrite } from '../message/token.ts'

/** What the bulk door did. */
export interface ManyExecuted {
  readonly executed: number
  /** One for each transaction over tables that wrote. */
  readonly writes: readonly TokenWrite[]
  /** Of the last event that was appended; undefined when none was. */
  readonly position: number | undefined
}

export interface ManyOptions {
  /** Over tables: how many inputs go into a transaction, default 500. For aggregates: how many are under way at once, default 256. */
  readonly batchSize?: number
  readonly onProgress?: (done: number) => void
}
