import type { Database, Transaction } from '../database/database.ts'
import type { Clock } from '../internal/clock.ts'
import type { Log } from '../internal/log.ts'
import type { AppendOutcome, AppendRequest, EventLog } from '../log/log.ts'
import type { Snapshots } from './snapshots.ts'
import type { StateCache } from './state-cache.ts'

/** How a command over tables appends in its own transaction; the log fills it. */
export interface Staging {
  /** Has the request appended when `transaction` commits; a failure then fails the commit (40001: run it all again). Resolves to an id for {@link take}. */
  stage(transaction: Transaction, request: AppendRequest): Promise<string>
  /** After the commit: what became of it. */
  take(id: string): Promise<AppendOutcome>
}

/** What carrying out commands needs from the application. */
export interface CommandRuntime {
  readonly database: Database
  /** The schema where Headwater keeps its own tables. */
  readonly schema: string
  readonly clock: Clock
  readonly log: Log
  /** How long a command waits for another one with the same idempotency key. Default 10,000. */
  readonly lockTimeoutMs?: number
  /** For commands of aggregates. */
  readonly eventLog?: EventLog
  readonly states?: StateCache
  readonly snapshots?: Snapshots
  /** For commands over tables that emit events. */
  readonly staging?: Staging
}
