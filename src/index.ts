/**
 * Headwater: commands write to one PostgreSQL database, read models flow from it, queries answer from them.
 *
 * @module
 */

// the application
export type { Difference, Headwater, HeadwaterOptions, ReadModelHandle, Verification } from './app/app.ts'
export { headwater } from './app/headwater.ts'
export { command } from './command/command.ts'
// the database port, for adapters
export type {
  Database,
  DatabaseTraits,
  Row,
  SqlClient,
  SqlResult,
  StatementOptions,
  Transaction,
  TransactionOptions,
} from './database/database.ts'
export type { Table } from './database/identifier.ts'
export type { Sql } from './database/sql.ts'
// failures
export {
  BehindError,
  DatabaseError,
  DatabaseUnavailableError,
  DefinitionError,
  HeadwaterError,
  IdempotencyKeyReusedError,
  IncompatibleStoreError,
  InvalidInputError,
  type Issue,
  isHeadwaterError,
  NoIndexError,
  NotReadyError,
  OutcomeUnknownError,
  ParkedError,
  Rejection,
  TokenError,
  UnknownNameError,
  UsageError,
} from './errors.ts'
// what the machine parts need from outside
export { type Clock, systemClock } from './internal/clock.ts'
export type { Immutable, Json } from './internal/immutable.ts'
export { consoleLog, type Log, type LogLevel, silentLog } from './internal/log.ts'
export { type KeyMap, type MaterializedView, materializedView } from './materialized-view/materialized-view.ts'
export type { Command, CommandMessage, Context, Executed, ExecuteOptions, TableContext } from './message/command.ts'
export type { Answer, Query, QueryOptions } from './message/query.ts'
export { reject } from './message/rejection.ts'
export { type InputOf, type OutputOf, type Schema, type } from './message/schema.ts'
export { query } from './query/query.ts'
export type {
  BuildProgress,
  Column,
  Condition,
  FindOptions,
  Indexes,
  KeyOf,
  Mode,
  Page,
  Reader,
  ReadModel,
  ReadModelState,
  ReadModelStatus,
} from './read-model/read-model.ts'
