import { createHash } from 'node:crypto'
import type { Transaction } from '../database/database.ts'
import { DatabaseUnavailableError, InvalidInputError, OutcomeUnknownError, Rejection, UsageError } from '../errors.ts'
import { canonicalJson, jsonFault } from '../internal/json.ts'
import { pauseBefore, retry } from '../internal/retry.ts'
import type { ExecuteOptions } from '../message/command.ts'
import { parse } from '../message/schema.ts'
import type { TokenWrite } from '../message/token.ts'
import { type Attempted, attempt, type CommandRuntime, didNotHappen, isRejection, type RunnableCommand, runExecute } from './attempt.ts'
import { abandonKey, type CommandRecord, claimKey, isKeyInUse, type KeyUse, recordDone, recordRefused } from './command-record.ts'
import { refuseInsideCommand } from './command-scope.ts'
import { plainJson, plainRejection } from './plain-json.ts'
import { commitUnkeyed } from './unkeyed-commit.ts'

/** What a command came to. */
export interface CommandOutcome {
  /** What `execute` resolved to, as JSON gives it back. */
  readonly result: unknown
  /** For the token. Undefined when the command wrote nothing. */
  readonly write: TokenWrite | undefined
  /** The recorded answer of an earlier call; nothing was done now. */
  readonly replayed: boolean
}

/**
 * Carries a command out in one transaction: everything it wrote is committed, or nothing is and this throws. With an idempotency key it takes effect
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
  definition: RunnableCommand,
  input: unknown,
  options: ExecuteOptions,
): Promise<CommandOutcome> {
  refuseInsideCommand(`execute(${JSON.stringify(definition.commandName)})`)
  const name = definition.commandName
  const job: Job = { runtime, definition, input: await parse(name, definition.input, input), options }
  if (options.idempotencyKey !== undefined) return outcomeOf(await executeKeyed(job, keyUse(runtime, name, options.idempotencyKey, input)))
  const { value, write } = await commitUnkeyed(runtime, name, (transaction) => resultOrThrow(job, transaction))
  return { result: value, write, replayed: false }
}

interface Job {
  readonly runtime: CommandRuntime
  readonly definition: RunnableCommand
  readonly input: unknown
  readonly options: ExecuteOptions
}

async function resultOrThrow(job: Job, transaction: Transaction): Promise<unknown> {
  const told = await run(job, transaction)
  if (told instanceof Rejection) throw told
  return told
}

async function run({ definition, input, options }: Job, transaction: Transaction): Promise<unknown> {
  const told = await runExecute(definition, input, transaction, options.context)
  const name = definition.commandName
  return isRejection(told) ? plainRejection(name, told) : plainJson(`${name}: the result`, told)
}

/** What became of a use of an idempotency key: the answer as it stands in the table. */
interface Answer {
  readonly result: unknown
  readonly refusal: Rejection | undefined
  readonly write: TokenWrite
  readonly replayed: boolean
}

function outcomeOf({ result, refusal, write, replayed }: Answer): CommandOutcome {
  if (refusal) throw refusal
  return { result, write, replayed }
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
  const told = await run(job, transaction)
  if (!(told instanceof Rejection)) {
    return { result: told, refusal: undefined, write: await recordDone(transaction, use, told), replayed: false }
  }
  await transaction.query('rollback to savepoint headwater_command')
  return { result: undefined, refusal: told, write: await recordRefused(transaction, use, told), replayed: false }
}

/** The answer in a record. It is a replay unless the transaction `ours` wrote it. */
function answerOf(use: KeyUse, record: CommandRecord, ours: string | undefined): Answer {
  const replayed = record.write.xid !== ours
  if (record.state === 'done') return { result: record.result, refusal: undefined, write: record.write, replayed }
  if (record.state === 'refused') {
    return { result: undefined, refusal: new Rejection(record.code ?? '', record.result), write: record.write, replayed }
  }
  throw new UsageError(`${use.name}: the key ${JSON.stringify(use.key)} was left unfinished by a command that ended its own transaction`)
}

const settleTriesMax = 8

/** Settles a lost commit: its answer, or undefined when it surely did not happen and never will. */
async function settle(runtime: CommandRuntime, use: KeyUse, lost: DatabaseUnavailableError, value: Answer): Promise<Answer | undefined> {
  const ours = value.replayed ? undefined : value.write.xid
  for (let tries = 1; tries <= settleTriesMax; tries++) {
    try {
      const { value: record, lost: lostAgain } = await attempt(runtime, use.name, (transaction) => abandonKey(transaction, use))
      if (lostAgain) continue
      runtime.log('warn', 'a connection was lost during commit; its key was claimed', {
        command: use.name,
        key: use.key,
        found: record?.state ?? 'nothing',
      })
      return record && answerOf(use, record, ours)
    } catch (error) {
      if (isKeyInUse(error)) break
      if (!(error instanceof DatabaseUnavailableError)) throw error
      if (tries < settleTriesMax) await runtime.clock.sleep(pauseBefore(tries, { baseMs: 50, maxMs: 2000 }))
    }
  }
  throw new OutcomeUnknownError(use.name, { cause: lost })
}

const keyBytesMax = 256

function keyUse(runtime: CommandRuntime, name: string, key: string, input: unknown): KeyUse {
  const bytes = Buffer.byteLength(key)
  const fault = bytes < 1 || bytes > keyBytesMax ? `has ${bytes} bytes instead of 1 to ${keyBytesMax}` : jsonFault(key)?.message
  if (fault) throw new InvalidInputError(name, [{ path: ['idempotencyKey'], message: fault }])
  const plain = plainJson(`${name}: the input of a command with an idempotency key`, input)
  const inputHash = createHash('sha256')
    .update(canonicalJson([plain]))
    .digest('hex')
  return { schema: runtime.schema, name, key, inputHash, lockTimeoutMs: runtime.lockTimeoutMs ?? 10_000 }
}
