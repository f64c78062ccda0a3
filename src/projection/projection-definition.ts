import type { Event, EventSource, EventsOf } from '../message/event.ts'
import type { Schema } from '../message/schema.ts'
import type { Column, Mode, Reader, ReadModel } from '../read-model/read-model.ts'
import type { Store } from '../read-model/store.ts'

type Intersect<U> = (U extends unknown ? (u: U) => void : never) extends (i: infer I) => void ? I : never
/** The events of several sources by their type. */
export type EventMap<From extends EventSource> = Intersect<From extends unknown ? EventsOf<From['schemas']> : never>
/** Any event of several sources. */
export type EventIn<From extends EventSource> = From extends unknown ? EventsOf<From['schemas']>[keyof EventsOf<From['schemas']>] : never

/** What an event makes of a row: the new row, null to delete it, undefined to leave it as it is. */
export type Handler = (row: never, event: never, key: never) => unknown

export interface ProjectionDefinition {
  readonly from: readonly EventSource[]
  readonly row: Schema
  /** Undefined: the event's stream. */
  readonly key: ((event: Event) => unknown) | undefined
  readonly on: Readonly<Record<string, Handler>>
  readonly indexes: Readonly<Record<string, readonly string[]>>
  readonly update: Mode
  /** Undefined: the write database. */
  readonly store: Store | undefined
  readonly version: number
}

/** A moment in the past: all events up to and with a position of the log, or all that happened by a time. */
export type Moment = { readonly position: number } | { readonly time: string | Date }

/** What a query is handed for a projection. */
export interface ProjectionReader<Row = unknown, Key = unknown, Indexed extends Column<Row> = Column<Row>>
  extends Reader<Row, Key, Indexed> {
  /**
   * The read model as it was: a key is folded from its own events, `find` from all of them, as long as that makes no more than 100,000 rows.
   * @throws {UsageError} when something is read of a moment that has not come
   */
  asOf(moment: Moment): Reader<Row, Key, Indexed>
}

/** A projection's definition, as `projection()` makes it. */
export interface Projection<Name extends string = string, Row = unknown, Key = unknown, Indexed extends Column<Row> = never>
  extends ReadModel<Name, Row, Key, Indexed> {
  /** Only a type: what a query gets. */
  readonly '~reader': ProjectionReader<Row, Key, Indexed>
  readonly '~projection': ProjectionDefinition
  /** Folds events in memory, one after the other: for tests. */
  readonly '~fold': (events: readonly Event[]) => readonly FoldedRow[]
}

/** What events made of a key. */
export interface FoldedRow {
  readonly key: string
  /** Undefined: there is none. */
  readonly row: unknown
  /** Why it is parked, and at which event. */
  readonly parked: { readonly position: number; readonly reason: string } | undefined
}
