import type { InputOf, OutputOf, Schema } from './schema.ts'

/** What happened, before it is in the log: what an aggregate's makers (`events.MoneyDeposited({ amount })`) give. */
export interface NewEvent<Type extends string = string, Data = unknown> {
  readonly type: Type
  readonly data: Data
}

/** Why and by whom an event came to be. Plain JSON. */
export interface EventMetadata {
  /** One id through everything that one request set off. */
  readonly correlationId?: string
  /** The id of the event or command that led to this one. */
  readonly causationId?: string
  /** Who asked, from the command's context. */
  readonly actor?: string
  /** The command that decided it. */
  readonly command?: string
}

/** An event as the log holds it. */
export interface Event<Type extends string = string, Data = unknown> extends NewEvent<Type, Data> {
  /** A UUID, unique in the log. */
  readonly id: string
  readonly aggregate: string
  /** The id within the aggregate, as `stream` of the command returned it. */
  readonly stream: string
  /** Its place in the stream: 1, 2, ... without a hole. */
  readonly version: number
  /** Its place in the whole log: 1, 2, ... without a hole, in the order of commits. Sync projections cannot see it. */
  readonly position: number
  /** ISO 8601 in UTC, microseconds; never earlier than that of the event before it in the log. Sync projections cannot see it. */
  readonly time: string
  /** The version of the schema that `data` was written under, before upcasting. */
  readonly schemaVersion: number
  readonly metadata: EventMetadata
}

/** What of an event a state is made of. */
export type StateEvent = Omit<Event, 'id' | 'time' | 'metadata'>

/** Event types with the schemas of their data. */
export type EventSchemas = Readonly<Record<string, Schema>>
/** Makes new events: `events.MoneyDeposited({ amount: 5 })`. The data is checked against its schema when the command appends. */
export type EventMakers<Schemas extends EventSchemas> = {
  readonly [T in keyof Schemas & string]: (data: InputOf<Schemas[T]>) => NewEvent<T, OutputOf<Schemas[T]>>
}
/** Any new event of these types. */
export type NewEventOf<Schemas extends EventSchemas> = { [T in keyof Schemas & string]: NewEvent<T, OutputOf<Schemas[T]>> }[keyof Schemas &
  string]
/** Events as the log holds them, by type. */
export type EventsOf<Schemas extends EventSchemas> = { [T in keyof Schemas & string]: Event<T, OutputOf<Schemas[T]>> }

/** Where events come from, as readers of the log see it: what `aggregate()` makes. The write side and the read side meet here. */
export interface EventSource<Name extends string = string, Schemas extends EventSchemas = EventSchemas> {
  readonly aggregateName: Name
  readonly schemas: Schemas
  /**
   * A stored event as its newest schema version, upcast step by step; data is frozen when `frozen` is set.
   * @throws {UnknownEventError} a type or a newer schema version that this code does not know
   */
  readonly '~read': <E extends StateEvent>(event: E) => E
}
