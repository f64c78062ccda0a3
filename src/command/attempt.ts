import type { Database, Transaction } from '../database/database.ts'
import { sqlOn } from '../database/sql.ts'
import { DatabaseError, DatabaseUnavailableError, HeadwaterError } from '../errors.ts'
import { retry } from '../internal/retry.ts'
import type { ExecuteOptions, TableContext } from '../message/command.ts'
import type { Schema } from '../message/schema.ts'
import type { CommandRuntime } from './command-runtime.ts'
import { runInside } from './command-scope.ts'
import type { Emission } from './emission.ts'
import { eventMetadata } from './event-metadata.ts'
import { isRejection } from './is-rejection.ts'

/** Any definition of a command over tables, whatever its input. */
export interface RunnableCommand {
  readonly '~kind': 'tables'
  readonly commandName: string
  readonly input: Schema
  readonly '~execute': (input: never, context: TableContext) => Promise<unknown>
}

/** How one transaction ended: committed, or nobody knows because the connection was `lost` while COMMIT was under way. */
export interface Attempted<T> {
  readonly value: T
  readonly lost: DatabaseUnavailableError | undefined
}

const attemptsMax = 5
/** Serialization failure, deadlock. */
const conflicts = new Set(['40001', '40P01'])

/**
 * Runs `work` in one READ COMMITTED transaction, again in a fresh one after a serialization failure or a deadlock: five at most,
 * then the last error is thrown. Any other error is thrown at once; in both cases nothing was written.
 */
export function attempt<T>(runtime: CommandRuntime, name: string, work: (transaction: Transaction) => Promise<T>): Promise<Attempted<T>> {
  return retry(() => attemptOnce(runtime.database, work), {
    clock: runtime.clock,
    attempts: attemptsMax,
    baseMs: 10,
    maxMs: 500,
    when: isConflict,
    onRetry: (error, failures, pauseMs) =>
      runtime.log('debug', 'a command lost a conflict in the database and runs again', {
        command: name,
        failures,
        pauseMs,
        error: String(error),
      }),
  })
}

async function attemptOnce<T>(database: Database, work: (transaction: Transaction) => Promise<T>): Promise<Attempted<T>> {
  let worked: { readonly value: T } | undefined
  try {
    const value = await database.transaction(
      async (transaction) => {
        worked = { value: await work(transaction) }
        return worked.value
      },
      { isolation: 'read committed' },
    )
    return { value, lost: undefined }
  } catch (error) {
    // Only once the work was over can this be our own COMMIT; `execute` may talk to another database and lose a commit there.
    if (worked && error instanceof DatabaseUnavailableError && error.during === 'commit') return { value: worked.value, lost: error }
    throw error
  }
}

/** Runs a command's `execute` in an open transaction; what it emits is added to `emission`. A refusal comes back as a value, thrown or not. */
export async function runExecute(
  definition: RunnableCommand,
  input: unknown,
  client: Transaction,
  options: ExecuteOptions,
  emission: Emission,
): Promise<unknown> {
  const name = definition.commandName
  const { emit, end } = emission.begin(name, eventMetadata(name, options))
  const offered: TableContext = { sql: sqlOn(client), client, emit, context: options.context ?? {} }
  try {
    return await runInside(name, async () => definition['~execute'](input as never, offered))
  } catch (error) {
    if (isRejection(error)) return error
    throw error
  } finally {
    end()
  }
}

/** Whether a fresh transaction may succeed. Query builders wrap what the driver throws, so the causes are looked through too. */
function isConflict(error: unknown): boolean {
  for (let at = error, depth = 0; at instanceof Error && depth < 8; at = at.cause, depth++) {
    if (at instanceof DatabaseError) return conflicts.has(at.sqlState) || isStalePlan(at)
    if (at instanceof HeadwaterError) return false
  }
  return false
}

/** A table was altered since the connection prepared a statement over it; the adapter has forgotten the statement by now. */
function isStalePlan({ sqlState, message }: DatabaseError): boolean {
  return sqlState === '26000' || (sqlState === '0A000' && message.includes('cached plan'))
}

/** The error for a commit that was lost and surely did not happen. */
export function didNotHappen(name: string, lost: DatabaseUnavailableError): DatabaseUnavailableError {
  return new DatabaseUnavailableError(`${name}: the connection was lost before the commit; nothing was written`, 'statement', {
    cause: lost,
  })
}
