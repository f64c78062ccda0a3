import type { Event, EventMetadata, StateEvent } from '../message/event.ts'

/** What a stream must look like for an append: exactly so many events (0: none), at least one, or anything. */
export type ExpectedVersion = number | 'no_stream' | 'stream_exists' | 'any'

/** An event on its way into the log. `data` was checked against its schema. */
export interface EventToAppend {
  /** A UUID made by the caller. */
  readonly id: string
  readonly type: string
  readonly schemaVersion: number
  readonly data: unknown
  readonly metadata: EventMetadata
}

/** Events for one stream. */
export interface StreamAppend {
  readonly aggregate: string
  readonly stream: string
  readonly expected: ExpectedVersion
  readonly events: readonly EventToAppend[]
}

/** An idempotency key that is recorded together with what it did: with a result, or with a refusal (then there are no events). */
export interface KeyedAnswer {
  readonly command: string
  readonly key: string
  readonly inputHash: string
  /** Plain JSON. */
  readonly result?: unknown
  readonly refusal?: { readonly code: string; readonly details: unknown }
}

/** One append: one stream or several, accepted or refused as a whole. */
export interface AppendRequest {
  readonly streams: readonly StreamAppend[]
  readonly answer?: KeyedAnswer
}

/** What became of an append. A conflict is a value, not an error. */
export type AppendOutcome =
  | {
      readonly status: 'appended'
      /** Of the request's last event; of the head when it had no event. */
      readonly position: number
      /** The version of each stream after the append, in the request's order. */
      readonly versions: readonly number[]
      /** The transaction, for a token. */
      readonly xid: string
    }
  | {
      readonly status: 'conflict'
      readonly aggregate: string
      readonly stream: string
      readonly expected: ExpectedVersion
      readonly actual: number
    }
  /**
   * Nothing was appended: a row that a sync projection's fold started from has changed, or the database is not the one it was, or the
   * connection was lost and it was made sure that the append did not happen and will not. Read again and decide again.
   */
  | { readonly status: 'stale' }
  /** The idempotency key is taken: its record is the answer. */
  | { readonly status: 'duplicate' }

/** Events of one stream, all from a version on. `version` is the stream's own, also when nothing was read. */
export interface StreamSlice<E extends StateEvent = Event> {
  readonly events: readonly E[]
  readonly version: number
}

/** The end of the log. */
export interface Head {
  /** 0 when the log is empty. */
  readonly position: number
  /** Of the event that stands there; null when the log is empty. */
  readonly eventId: string | null
}

/**
 * The write log: events of all streams in one order. Positions are contiguous from 1, in the order of commits, so a reader that has read up to
 * a position has seen everything up to it. `data` comes as it was written; upcasting is the aggregate's.
 */
export interface EventLog {
  /**
   * Appends atomically. Requests that arrive while one append is under way go together with the next, each judged alone.
   * @throws {DatabaseUnavailableError} no connection was to be had; nothing was appended
   * @throws {DatabaseError} nothing was appended: 55P03 and 57014 when the log's lock or the statement took too long
   * @throws {OutcomeUnknownError} the connection was lost, and the database did not come back in time to settle what became of the append
   * @throws {InvalidInputError} a stream id, type or key over 256 bytes, an event over 256 KiB, more than 500 events or 4 MiB, what JSON cannot keep
   */
  append(request: AppendRequest): Promise<AppendOutcome>
  /** The events of a stream after `afterVersion` (0: all). Reads that arrive together go together. */
  readStream(aggregate: string, stream: string, afterVersion?: number): Promise<StreamSlice>
  /** The same, but of each event only what a state is made of, which is less work on both sides. */
  readState(aggregate: string, stream: string, afterVersion?: number): Promise<StreamSlice<StateEvent>>
  /** Up to `limit` events after a position, in order; of some types only, through an index. */
  read(options: { readonly after: number; readonly limit: number; readonly types?: readonly string[] }): Promise<readonly Event[]>
  head(): Promise<Head>
}

/** One row that a sync projection wants written with a request. */
export interface CompanionRow {
  /** The id of the projection's version. */
  readonly projection: number
  readonly key: string
  /** The position of the stored row that the fold started from, 0 where there was none; null when it started from an earlier request of this group. */
  readonly was: number | null
  /** Which event of the request folded last into it, from 0: its position becomes the row's. */
  readonly event: number
  /** The stream's version at that event, where the projection's key is the stream. */
  readonly version: number | null
  /** The row as JSON text; null deletes it. */
  readonly row: string | null
  /** The texts by which the declared indexes order the row. */
  readonly index: readonly string[]
}

/** What sync projections add to one request of a group. */
export interface CompanionPart {
  readonly rows: readonly CompanionRow[]
  /** Earlier requests of the group (their places, from 0) whose rows this one started from, directly or through others. */
  readonly needs: readonly number[]
}

/** What sync projections add to a group. */
export interface CompanionGroup {
  /** The versions that this process keeps in step: those that stand at the head move with it. */
  readonly projections: readonly number[]
  /** For each request its part, or the error that fails that request alone. */
  readonly parts: readonly (CompanionPart | Error)[]
  /** After the group was judged. `left` are projections that did not stand at the head and have to be caught up. */
  settled(outcomes: readonly (AppendOutcome | Error)[], left: readonly number[]): void
}

/** Sync projections as an append sees them; `app/` joins the two. */
export interface AppendCompanion {
  /** Whether there is something to fold now: then a group goes only after the one before it, whose rows it may start from. */
  readonly oneByOne: boolean
  /** Runs before a group is sent. */
  prepare(requests: readonly AppendRequest[]): Promise<CompanionGroup>
}
