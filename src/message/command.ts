import type { Transaction } from '../database/database.ts'
import type { Sql } from '../database/sql.ts'
import type { Rejection } from '../errors.ts'
import type { EventSchemas, EventSource, NewEvent, NewEventOf } from './event.ts'
import type { InputOf, OutputOf, Schema } from './schema.ts'

/** Who is asking, as the application sees it: set by `handler(app, { context })` or by `execute` and `query` themselves. */
export interface Context {
  readonly actor?: string
  readonly [key: string]: unknown
}

/** A command, ready to send: what a reaction returns. */
export interface CommandMessage<Name extends string = string> {
  readonly command: Name
  readonly input: unknown
}

/** A new event whose data was checked: plain JSON, as it will be read back. */
export interface CheckedEvent extends NewEvent {
  /** The newest version of its schema. */
  readonly schemaVersion: number
}

/** Where events may be written to: what `aggregate()` makes, as `emit` sees it. */
export interface EventWriter<Name extends string = string, Schemas extends EventSchemas = EventSchemas> extends EventSource<Name, Schemas> {
  /**
   * Checks an event against its schema; a promise only where the schema's library gives one.
   * @throws {InvalidEventError} naming the type and the place
   */
  readonly '~write': (event: NewEvent) => CheckedEvent | Promise<CheckedEvent>
}

/** What carrying out commands needs of an aggregate; the state's type is the aggregate's own. */
export interface EventModel extends EventWriter {
  readonly '~initialState': () => unknown
  readonly '~evolve': (state: unknown, event: NewEvent) => unknown
  /** Changes with the code that makes states, so that older snapshots are told apart. */
  readonly '~fingerprint': string
  /** A snapshot is taken after so many events; undefined: none. */
  readonly '~snapshotEvery': number | undefined
}

/**
 * Writes events of an aggregate in the command's own transaction, whatever the version of the stream. It only collects: the events are checked and
 * appended at the end, after everything else, and not at all when the command refuses or fails.
 */
export type Emit = <Schemas extends EventSchemas>(
  aggregate: EventWriter<string, Schemas>,
  stream: string,
  ...events: readonly NewEventOf<NoInfer<Schemas>>[]
) => void

/** What `execute` of a command over tables works with: one open transaction. */
export interface TableContext {
  /** Runs a statement in the command's transaction. */
  readonly sql: Sql
  /** The same transaction as a client: for Kysely, Drizzle and other libraries. */
  readonly client: Transaction
  readonly emit: Emit
  readonly context: Context
}

interface CommandDefinition<Name extends string, Input extends Schema, Result> {
  /** Makes a message of this command: what a reaction returns. */
  (input: InputOf<Input>): CommandMessage<Name>
  readonly commandName: Name
  readonly input: Input
  /** Only a type: what `execute` resolves to. */
  readonly '~result': Result
}

/** A command over tables: what `command()` defines. */
export interface TableCommand<Name extends string = string, Input extends Schema = Schema, Result = unknown>
  extends CommandDefinition<Name, Input, Result> {
  readonly '~kind': 'tables'
  /** How the runtime carries it out. */
  readonly '~execute': (input: OutputOf<Input>, context: TableContext) => Promise<unknown>
}

/** A command that decides events: what `command()` of an aggregate defines. */
export interface EventCommand<Name extends string = string, Input extends Schema = Schema, Result = { readonly version: number }>
  extends CommandDefinition<Name, Input, Result> {
  readonly '~kind': 'events'
  readonly '~model': EventModel
  /** The id of the stream that an input is about. */
  readonly '~stream': (input: OutputOf<Input>) => string
  readonly '~decide': (state: unknown, input: OutputOf<Input>, context: Context) => readonly NewEvent[] | Rejection
}

/** A command's definition; calling it makes a message of it. */
export type Command<Name extends string = string, Input extends Schema = Schema, Result = unknown> =
  | TableCommand<Name, Input, Result>
  | EventCommand<Name, Input, Result>

/** What may go with a command besides its input. */
export interface ExecuteOptions {
  /**
   * Makes the command safe to send again: the same key with the same input answers what happened the first time, in any process, for as
   * long as keys are kept (7 days unless said otherwise). 1 to 256 bytes, which do not begin with `reaction/`.
   */
  readonly idempotencyKey?: string
  /** The last token the caller got: the new token then covers both writes. */
  readonly after?: string
  /**
   * For commands of aggregates: the version of the stream that the caller decided on. Another one is a `VersionConflictError` at once,
   * and nothing is decided anew.
   */
  readonly ifVersion?: number
  /** The id of the event that led to this command, for the metadata of what it appends. */
  readonly causationId?: string
  readonly context?: Context
}

/** What became of a command that was not refused. */
export interface Executed<Result> {
  readonly result: Result
  /** Give it to a query (`after`) to read this write, and to the next command to read both. */
  readonly token: string
  /** The idempotency key was known: this is the recorded answer, nothing was done now. */
  readonly replayed: boolean
}
