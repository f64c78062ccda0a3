/**
 * Headwater: commands write to one PostgreSQL database, read models flow from it, queries answer from them.
 *
 * @module
 */

// the application
export { type Aggregate, type AggregateDefinition, aggregate, type DecideContext } from './aggregate/aggregate.ts'
export type { Upcasts } from './aggregate/upcast.ts'
export type {
  Difference,
  Headwater,
  HeadwaterOptions,
  ReactionHandle,
  ReadModelHandle,
  Role,
  StartOptions,
  Verification,
} from './app/app.ts'
export { headwater } from './app/headwater.ts'
export { command } from './command/command.ts'
// the database port, for adapters
export type {
  Database,
  DatabaseTraits,
  Replica,
  Replicas,
  Row,
  SqlClient,
  SqlResult,
  StatementOptions,
  Transaction,
  TransactionOptions,
  WhenBehind,
} from './database/database.ts'
export type { Table } from './database/identifier.ts'
export type { Sql } from './database/sql.ts'
// failures
export {
  BehindError,
  DatabaseError,
  DatabaseUnavailableError,
  DefinitionError,
  HandlerError,
  HeadwaterError,
  IdempotencyKeyReusedError,
  IncompatibleStoreError,
  InvalidEventError,
  InvalidInputError,
  type Issue,
  isHeadwaterError,
  LogMismatchError,
  NoIndexError,
  NotReadyError,
  OutcomeUnknownError,
  ParkedError,
  Rejection,
  ReplicaBehindError,
  TokenError,
  UnknownEventError,
  UnknownNameError,
  UsageError,
  VersionConflictError,
} from './errors.ts'
// what the machine parts need from outside
export { type Clock, systemClock } from './internal/clock.ts'
export type { Immutable, Json } from './internal/immutable.ts'
export { consoleLog, type Log, type LogLevel, silentLog } from './internal/log.ts'
// the log port, for adapters: begin
export type {
  AppendOutcome,
  AppendRequest,
  EventLog,
  EventToAppend,
  ExpectedVersion,
  Head,
  KeyedAnswer,
  StreamAppend,
  StreamSlice,
} from './log/log.ts'
// the log port, for adapters: end
export { type KeyMap, type MaterializedView, materializedView } from './materialized-view/materialized-view.ts'
export type {
  CheckedEvent,
  Command,
  CommandMessage,
  Context,
  Emit,
  EventCommand,
  EventModel,
  EventWriter,
  Executed,
  ExecuteOptions,
  TableCommand,
  TableContext,
} from './message/command.ts'
export type {
  Event,
  EventMakers,
  EventMetadata,
  EventSchemas,
  EventSource,
  EventsOf,
  NewEvent,
  NewEventOf,
} from './message/event.ts'
export type { Answer, Query, QueryOptions } from './message/query.ts'
export { reject } from './message/rejection.ts'
export { type InputOf, type OutputOf, type Schema, type } from './message/schema.ts'
export { type Projection, projection } from './projection/projection.ts'
export type { Moment, ProjectionReader } from './projection/projection-definition.ts'
export type { ProjectionHandle } from './projection/projection-handle.ts'
export { query } from './query/query.ts'
export type { ReplicaState, ReplicaStatus } from './query/replica-set.ts'
// the store port, for adapters: end
export { type Reaction, reaction } from './reaction/reaction.ts'
export type { ReactionStatus } from './reaction/reaction-worker.ts'
export type { ParkedTask } from './reaction/task.ts'
// the store port, for adapters: begin
export { type DatabaseNative, type DatabaseStoreOptions, databaseStore, type SqlStore } from './read-model/database-store.ts'
export { compareText, indexText, orderText } from './read-model/order-text.ts'
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
export { refusedRow } from './read-model/refused-row.ts'
export {
  type Batch,
  type Checkpoint,
  type Parked,
  type Partitions,
  partitionCount,
  partitionOf,
  type RangeRequest,
  type RangeRow,
  type RowChange,
  type Seen,
  type Store,
  type StoredModel,
  type StoredRow,
  type StoreSize,
  type WithNative,
} from './read-model/store.ts'
