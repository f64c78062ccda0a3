import type { Database } from '../database/database.ts'
import type { Clock } from '../internal/clock.ts'
import type { Log } from '../internal/log.ts'
import type { Executed, ExecuteOptions } from '../message/command.ts'
import type { Answer, QueryOptions } from '../message/query.ts'
import type { InputOf, Schema } from '../message/schema.ts'
import type { ProjectionHandle } from '../projection/projection-handle.ts'
import type { ReplicaStatus } from '../query/replica-set.ts'
import type { ReactionStatus } from '../reaction/reaction-worker.ts'
import type { ParkedTask } from '../reaction/task.ts'
import type { ReadModel, ReadModelStatus } from '../read-model/read-model.ts'

type AnyCommand = { readonly commandName: string; readonly input: Schema; readonly '~result': unknown }
type AnyQuery = { readonly queryName: string; readonly input: Schema; readonly '~result': unknown }

/** A record of definitions; only their own names count, so `import * as commands from './commands.ts'` will do. What is no definition is ignored. */
export type Definitions = Readonly<Record<string, unknown>>
export type CommandsBy<D> = { readonly [K in keyof D as D[K] extends AnyCommand ? D[K]['commandName'] : never]: D[K] }
export type QueriesBy<D> = { readonly [K in keyof D as D[K] extends AnyQuery ? D[K]['queryName'] : never]: D[K] }
export type InputIn<D> = D extends { readonly input: infer S extends Schema } ? InputOf<S> : never
export type ResultOf<D> = D extends { readonly '~result': infer R } ? R : never

/** What an application is made of. Only `database` must be given. */
export interface HeadwaterOptions<C extends Definitions, Q extends Definitions> {
  readonly database: Database
  readonly commands?: C
  readonly readModels?: Readonly<Record<string, ReadModel<string, never, never, never> | unknown>>
  readonly queries?: Q
  readonly reactions?: Definitions
  /** The PostgreSQL schema where Headwater keeps everything of its own. Default `headwater`. */
  readonly schema?: string
  readonly log?: Log
  readonly clock?: Clock
  /** How long idempotency keys are kept. Default 7 days. */
  readonly idempotencyRetentionMs?: number
  /** How often to look for changes by writers that know nothing of Headwater. Default 100. */
  readonly pollIntervalMs?: number
  /** How long the version before the live one is kept up to date for a rollback. Default 24 hours. */
  readonly rollbackWindowMs?: number
  /** How many states of streams this process keeps, and about how many bytes: default 100,000 and 64 MiB; 0 entries: none. */
  readonly stateCache?: { readonly entries?: number; readonly bytes?: number }
  /** How long `start()` keeps trying to reach the database. Default 30,000. */
  readonly connectTimeoutMs?: number
}

/**
 * A part of an application that a process may be: `commands` takes commands, `projections` keeps read models in step and reacts, `queries` answers.
 * Sync read models are kept by whoever writes.
 */
export type Role = 'commands' | 'projections' | 'queries'

/** How a process takes part. */
export interface StartOptions {
  /** Default: all. Any number of processes may have each. */
  readonly roles?: readonly Role[]
}

/** One key at which a read model is not what its SELECT says. */
export interface Difference {
  /** The key's canonical text: the column's own text, or a JSON array of them for a composite key. */
  readonly key: string
  readonly kind: 'missing' | 'surplus' | 'different'
}

/** What a comparison of a read model with its SELECT found. */
export interface Verification {
  readonly readModel: string
  readonly version: number
  readonly keysChecked: number
  /** Drift: rows that differ from their SELECT though no change of theirs is waiting. Empty when all is right. */
  readonly differences: readonly Difference[]
}

/** The operations on one read model. */
export interface ReadModelHandle {
  status(): Promise<ReadModelStatus>
  /** Compares rows with what the SELECT says, all of them or a random sample, in short snapshots. */
  verify(options?: { readonly sample?: number }): Promise<Verification>
  /** Verifies, selects the keys that differ again, and resolves to what it found when they are right. */
  repair(): Promise<Verification>
  /** Selects every key again, in the background, without downtime. */
  rebuild(): Promise<void>
  /** Tries the parked keys again: all, or one by its canonical text. */
  retry(key?: string): Promise<void>
  /** Starts a stopped read model again, filling it from nothing it trusted. */
  resume(): Promise<void>
  /** Makes the version before the live one live again, when it holds everything the live one holds. */
  rollback(): Promise<void>
}

/** The operations on one reaction. */
export interface ReactionHandle {
  status(): Promise<ReactionStatus>
  /** Commands and events that were put aside, with their errors. */
  parked(): Promise<readonly ParkedTask[]>
  /** Tries what was put aside again: all, or one by its id. */
  retry(id?: string): Promise<void>
  /** Leaves a parked command out for good; what waits behind it goes on. The reason stays on record. */
  skip(id: string, reason: string): Promise<void>
  /** Starts a stopped reaction again where it stopped. */
  resume(): Promise<void>
  /** After the log was restored or replaced: goes on from its end. What lies between is not reacted to. */
  accept(): Promise<void>
}

/** A running application: commands in, answers out. */
export interface Headwater<Commands = object, Queries = object> extends AsyncDisposable {
  readonly '~commands': Commands
  readonly '~queries': Queries
  /** Migrates Headwater's own schema, installs change capture, begins builds. Resolves when it serves, not when everything is built. @throws {UsageError} no roles that there are; or `stop()` was called meanwhile */
  start(options?: StartOptions): Promise<void>
  /**
   * Lets no command or query in any more, waits until those under way are answered, stops what works, and closes the database and the stores. A store that
   * another application of the process uses stays open until that stops. `executeMany` ends with the batch under way. Called during `start()`, it waits for
   * the step that is being taken; `start()` is then rejected.
   */
  stop(): Promise<void>
  execute<Name extends keyof Commands & string>(
    name: Name,
    input: InputIn<Commands[Name]>,
    options?: ExecuteOptions,
  ): Promise<Executed<ResultOf<Commands[Name]>>>
  /** The bulk door: runs a command for many inputs, many to a transaction, in order. The first refusal or failure stops it and names the input. */
  executeMany<Name extends keyof Commands & string>(
    name: Name,
    inputs: Iterable<InputIn<Commands[Name]>>,
    options?: { readonly batchSize?: number; readonly onProgress?: (done: number) => void },
  ): Promise<{ readonly executed: number; readonly token: string }>
  query<Name extends keyof Queries & string>(
    name: Name,
    input: InputIn<Queries[Name]>,
    options?: QueryOptions,
  ): Promise<Answer<ResultOf<Queries[Name]>>>
  /** How every read model in the database is, every reaction of this process, and every replica it reads from. */
  status(): Promise<{
    readonly readModels: readonly ReadModelStatus[]
    readonly reactions: readonly ReactionStatus[]
    readonly replicas: readonly ReplicaStatus[]
    /** What this process is called where it owns something. */
    readonly id: string
  }>
  readModel(name: string): ReadModelHandle
  reaction(name: string): ReactionHandle
  /** What may be done with a projection besides: look into its past, ask why a row is what it is, see to parked keys. */
  projection(name: string): ProjectionHandle
  /** Resolves when every read model is built and holds every committed change. For tests and scripts. */
  settle(): Promise<void>
  /** Drops a read model that no definition names any more. */
  drop(name: string): Promise<void>
  /** Takes everything of Headwater out of the database: its schema, its triggers, its read models. The application's tables stay as they are. */
  uninstall(): Promise<void>
}
