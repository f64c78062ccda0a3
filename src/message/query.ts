import type { Context } from './command.ts'
import type { Schema } from './schema.ts'

/** A query's definition. */
export interface Query<Name extends string = string, Input extends Schema = Schema, Result = unknown> {
  readonly queryName: Name
  readonly input: Input
  /** Only a type: what the query answers. */
  readonly '~result': Result
  /** The read models it reads, by the names it calls them. */
  readonly '~reads': Readonly<Record<string, { readonly readModelName: string }>>
  readonly '~execute': (input: never, reads: never) => Promise<unknown>
}

/** How fresh an answer must be. Left out: `eventual`, whatever is there. What cannot be had in time is an error, never an older answer. */
export interface QueryOptions {
  /** Not from before the writes of this token. */
  readonly after?: string
  /** Not from before any write that was committed when the query began. */
  readonly latest?: true
  /** At most this many milliseconds behind. */
  readonly maxStalenessMs?: number
  /** How long to wait for that. Default 2,000, at most 30,000. */
  readonly waitMs?: number
  /** Answer from what is there when the wait is over, instead of failing. */
  readonly allowStale?: true
  readonly context?: Context
}

/** What a query answers, and how old that may be. */
export interface Answer<Result> {
  readonly result: Result
  /** How old the answer may be: milliseconds since the oldest change not yet in a read model it read. 0 when all are level. */
  readonly lagMs: number
}
