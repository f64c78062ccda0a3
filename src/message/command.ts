import type { Transaction } from '../database/database.ts'
import type { Sql } from '../database/sql.ts'
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

/** What `execute` of a command over tables works with: one open transaction. */
export interface TableContext {
  /** Runs a statement in the command's transaction. */
  readonly sql: Sql
  /** The same transaction as a client: for Kysely, Drizzle and other libraries. */
  readonly client: Transaction
  readonly context: Context
}

/** A command's definition; calling it makes a message of it. */
export interface Command<Name extends string = string, Input extends Schema = Schema, Result = unknown> {
  (input: InputOf<Input>): CommandMessage<Name>
  readonly commandName: Name
  readonly input: Input
  /** Only a type: what `execute` resolves to. */
  readonly '~result': Result
  /** How the runtime carries it out. */
  readonly '~execute': (input: OutputOf<Input>, context: TableContext) => Promise<unknown>
}

/** What may go with a command besides its input. */
export interface ExecuteOptions {
  /**
   * Makes the command safe to send again: the same key with the same input answers what happened the first time, in any process, for as
   * long as keys are kept (7 days unless said otherwise). 1 to 256 bytes.
   */
  readonly idempotencyKey?: string
  /** The last token the caller got: the new token then covers both writes. */
  readonly after?: string
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
