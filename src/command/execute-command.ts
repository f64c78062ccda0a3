import type { Transaction } from '../database/database.ts'
import { DatabaseUnavailableError, OutcomeUnknownError, Rejection, UsageError } from '../errors.ts'
import { pauseBefore, retry } from '../internal/retry.ts'
import type { ExecuteOptions } from '../message/command.ts'
import { parse } from '../message/schema.ts'
import type { TokenWrite } from '../message/token.ts'
import { type Attempted, attempt, didNotHappen, type RunnableCommand, runExecute } from './attempt.ts'
import type { CommandOutcome } from './command-outcome.ts'
import { abandonKey, type CommandRecord, claimKey, isKeyInUse, type KeyUse, recordDone, recordRefused } from './command-record.ts'
import type { CommandRuntime } from './command-runtime.ts'
import { refuseInsideCommand } from './command-scope.ts'
import { Emission, headPosition, stagedPosition } from './emission.ts'
import { executeDecision } from './execute-decision.ts'
import { isRejection } from './is-rejection.ts'
import type { DecidingCommand } from './judge.ts'
import { keyUse } from './key-use.ts'
import { plainJson, plainRejection } from './plain-json.ts'
import { commitUnkeyed } from './unkeyed-commit.ts'

/**
 * Carries a command out: one of an aggregate as {@link executeDecision} says, one over tables in one transaction: everything it wrote is committed, or nothing is and this throws. With an idempotency key it takes effect
 * at most once, in whichever process, and every call gets the answer of that once.
 *
 * @throws {Rejection} the command refused
 * @throws {InvalidInputError} the input, or the idempotency key
 * @throws {UsageError} inside another command, or a result that is not JSON
 * @throws {IdempotencyKeyReusedError} the key stands for another input
 * @throws {DatabaseError} the last one after five serialization failures or deadlocks; 55P03 when another call with the key still runs
 * @throws {DatabaseUnavailableError} nothing was written
 * @throws {OutcomeUnknownError} the connection was lost during commit and nothing can be told
 * @see executeMany
 */
export async function executeCommand(
  runtime: CommandRuntime,
  definition: RunnableCommand | DecidingCommand,
  input: unknown,
  options: ExecuteOptions,
): Promise<CommandOutcome> {
  if (definition['~kind'] === 'events') return executeDecision(runtime, definition, input, options)
  refuseInsideCommand(`execute(${JSON.stringify(definition.commandName)})`)
  const name = definition.commandName
  if (options.ifVersion !== undefined) throw new UsageError(`${name}: ifVersion is for commands of aggregates; tables have no version`)
  const job: Job = { runtime, definition, input: await parse(name, definition.input, input), options }
  if (options.idempotencyKey !== undefined) {
    return outcomeOf(job, await executeKeyed(job, keyUse(runtime, name, options.idempotencyKey, input)))
  }
  const { value, write } = await commitUnkeyed(runtime, name, (transaction) => resultOrThrow(job, transaction))
  return { result: value.told, write, position: await positionOf(job, value.staged, false), replayed: false }
}

interface Job {
  readonly runtime: CommandRuntime
  readonly definition: RunnableCommand
  readonly input: unknown
  readonly options: ExecuteOptions
}

/** What a run of `execute` came to. */
interface Ran {
  /** Its result or its refusal, as plain JSON. */
  readonly told: unknown
  /** What it emitted, on its way into the log. */
  readonly staged: string | undefined
}

async function resultOrThrow(job: Job, transaction: Transaction): Promise<Ran> {
  const ran = await run(job, transaction)
  if (ran.told instanceof Rejection) throw ran.told
  return ran
}

async function run({ runtime, definition, input, options }: Job, transaction: Transaction): Promise<Ran> {
  const name = definition.commandName
  const emission = new Emission()
  const told = await runExecute(definition, input, transaction, options, emission)
  if (isRejection(told)) return { told: plainRejection(name, told), staged: undefined }
  return { told: plainJson(`${name}: the result`, told), staged: await emission.stage(runtime, name, transaction) }
}

/** What became of a use of an idempotency key: the answer as it stands in the table. */
interface Answer {
  readonly result: unknown
  readonly refusal: Rejection | undefined
  readonly write: TokenWrite
  readonly staged: string | undefined
  readonly replayed: boolean
}

async function outcomeOf(job: Job, { result, refusal, write, staged, replayed }: Answer): Promise<CommandOutcome> {
  if (refusal) throw refusal
  return { result, write, position: await positionOf(job, staged, replayed), replayed }
}

/** Where the token has to reach in the log. What a replayed command emitted is not known any more, but it is not after the head. */
function positionOf({ runtime, definition }: Job, staged: string | undefined, replayed: boolean): Promise<number | undefined> {
  if (staged !== undefined) return stagedPosition(runtime, definition.commandName, staged)
  return replayed ? headPosition(runtime) : Promise.resolve(undefined)
}

/*
 * The life of an idempotency key. Its row is written by the transaction whose answer it holds, so `running` is never seen from outside,
 * and whoever inserts or updates the row has waited for the end of every transaction that did so before.
 *
 *   (no row) --claim--> running --execute resolves--> done        committed together with what the command wrote
 *                       running --execute refuses---> refused     what it wrote is rolled back to the savepoint, then committed
 *                       running --execute throws----> (no row)    rolled back; the key is free again
 *   (no row) --abandon, after a lost commit--> abandoned          no earlier attempt can commit any more, none did
 *                       abandoned --claim--> running              taken over by an update under the row's lock
 *
 * A lost COMMIT is not looked up (a row that is not there may still come: the orphaned transaction can sit in a buffer on its way) but
 * settled by `abandon`. Either the row is there, and its answer is the answer; or it is ours now, and the orphan, when it ever
 * reaches the server, has already been rolled back. Then the command may run again.
 */
const lostMax = 3

async function executeKeyed(job: Job, use: KeyUse): Promise<Answer> {
  for (let lostCommits = 1; ; lostCommits++) {
    const { value, lost } = await attemptKeyed(job, use)
    if (!lost) return value
    const settled = await settle(job.runtime, use, lost, value)
    if (settled) return settled
    if (lostCommits >= lostMax) throw didNotHappen(use.name, lost)
  }
}

/** One run, and a second one after a connection lost before COMMIT was sent: the first never commits then, and the claim waits for its end. */
function attemptKeyed(job: Job, use: KeyUse): Promise<Attempted<Answer>> {
  return retry(() => attempt(job.runtime, use.name, (transaction) => carryOutKeyed(job, use, transaction)), {
    clock: job.runtime.clock,
    attempts: 2,
    baseMs: 50,
    maxMs: 50,
    when: (error) => error instanceof DatabaseUnavailableError && error.during === 'statement',
  })
}

async function carryOutKeyed(job: Job, use: KeyUse, transaction: Transaction): Promise<Answer> {
  const record = await claimKey(transaction, use)
  if (record) return answerOf(use, record, undefined)
  await transaction.query('set local lock_timeout to default; savepoint headwater_command')
  const { told, staged } = await run(job, transaction)
  if (!(told instanceof Rejection)) {
    return { result: told, refusal: undefined, write: await recordDone(transaction, use, told), staged, replayed: false }
  }
  await transaction.query('rollback to savepoint headwater_command')
  return { result: undefined, refusal: told, write: await recordRefused(transaction, use, told), staged: undefined, replayed: false }
}

/** The answer in a record. It is a replay unless the transaction of `mine` wrote it. */
function answerOf(use: KeyUse, record: CommandRecord, mine: Answer | undefined): Answer {
  const replayed = record.write.xid !== mine?.write.xid
  const known = { write: record.write, staged: replayed ? undefined : mine?.staged, replayed }
  if (record.state === 'done') return { result: record.result, refusal: undefined, ...known }
  if (record.state === 'refused') return { result: undefined, refusal: new Rejection(record.code ?? '', record.result), ...known }
  throw new UsageError(`${use.name}: the key ${JSON.stringify(use.key)} was left unfinished by a command that ended its own transaction`)
}

const settleTriesMax = 8

/** Settles a lost commit: its answer, or undefined when it surely did not happen and never will. */
async function settle(runtime: CommandRuntime, use: KeyUse, lost: DatabaseUnavailableError, value: Answer): Promise<Answer | undefined> {
  const mine = value.replayed ? undefined : value
  for (let tries = 1; tries <= settleTriesMax; tries++) {
    try {
      const { value: record, lost: lostAgain } = await attempt(runtime, use.name, (transaction) => abandonKey(transaction, use))
      if (lostAgain) continue
      runtime.log('warn', 'a connection was lost during commit; its key was claimed', {
        command: use.name,
        key: use.key,
        found: record?.state ?? 'nothing',
      })
      return record && answerOf(use, record, mine)
    } catch (error) {
      if (isKeyInUse(error)) break
      if (!(error instanceof DatabaseUnavailableError)) throw error
      if (tries < settleTriesMax) await runtime.clock.sleep(pauseBefore(tries, { baseMs: 50, maxMs: 2000 }))
    }
  }
  throw new OutcomeUnknownError(use.name, { cause: lost })
}
