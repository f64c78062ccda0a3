import type { Database } from '../database/database.ts'
import { quote } from '../database/identifier.ts'
import type { Clock } from '../internal/clock.ts'
import type { Log } from '../internal/log.ts'
import type { EventLog } from '../log/log.ts'
import type { CommandMessage } from '../message/command.ts'

/** How a reaction's command is sent; `app/` fills it. Resolves when it was carried out, rejects with a `Rejection` when it was refused. */
export type SendCommand = (
  message: CommandMessage,
  options: { readonly idempotencyKey: string; readonly causationId: string; readonly correlationId: string },
) => Promise<unknown>

/** What running reactions needs from the application. */
export interface ReactionRuntime {
  readonly database: Database
  /** Headwater's own schema. */
  readonly schema: string
  readonly clock: Clock
  readonly log: Log
  readonly eventLog: EventLog
  readonly send: SendCommand
}

/** How hard reactions try. */
export interface ReactionOptions {
  /** How often to look for events of other processes. Default 100. */
  readonly pollIntervalMs?: number
  /** Commands of one reaction under way at once, each of another key. Default 32. */
  readonly concurrency?: number
  /** Tries of one command before it is parked. Default 10. */
  readonly attempts?: number
  /** The pause after the first failure, by the database's clock; it doubles up to a minute. Default 250. */
  readonly retryMs?: number
}

/** The two tables, quoted. */
export function reactionTables(runtime: ReactionRuntime): { readonly reaction: string; readonly task: string } {
  const schema = quote(runtime.schema)
  return { reaction: `${schema}.reaction`, task: `${schema}.reaction_task` }
}
