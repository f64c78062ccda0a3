import { randomUUID } from 'node:crypto'
import { InvalidInputError, Rejection, UsageError, VersionConflictError } from '../errors.ts'
import { pauseBefore } from '../internal/retry.ts'
import type { AppendOutcome, AppendRequest, KeyedAnswer } from '../log/log.ts'
import type { ExecuteOptions } from '../message/command.ts'
import { parse } from '../message/schema.ts'
import type { CommandOutcome } from './command-outcome.ts'
import { type KeyUse, keyInUse, readRecord } from './command-record.ts'
import type { CommandRuntime } from './command-runtime.ts'
import { refuseInsideCommand } from './command-scope.ts'
import { headPosition } from './emission.ts'
import { eventMetadata } from './event-metadata.ts'
import { type DecidingCommand, type Judgement, judge } from './judge.ts'
import { keyUse } from './key-use.ts'
import { streamIdFault } from './stream-id.ts'
import { catchUp, droppingStates, eventRuntime, keepState, type LoadedState, loadState, type StreamPlace } from './stream-state.ts'

/** A command of an aggregate with its input parsed and its stream known. */
export interface DecisionJob {
  readonly place: StreamPlace
  readonly definition: DecidingCommand
  readonly input: unknown
  readonly options: ExecuteOptions
  readonly use: KeyUse | undefined
}

/**
 * Carries out a command of an aggregate: decides on the state of its stream and appends the events, if the stream still is what was decided on; else
 * it decides again on the newer state. What is not appended (a refusal, no events) is decided on a state that was read after the command began.
 * With an idempotency key the answer, a refusal too, is recorded together with the events, and every later call with the key gets it.
 *
 * @throws {Rejection} the command refused
 * @throws {InvalidInputError} the input, its stream's id, `ifVersion` or the idempotency key
 * @throws {InvalidEventError} `decide` made an event that is not what its schema asks for
 * @throws {UsageError} inside another command; a `decide` that returns neither events nor a refusal
 * @throws {VersionConflictError} the stream is not at `ifVersion`, or it changed at each of ten tries
 * @throws {UnknownEventError} the stream holds an event that this code does not know
 * @throws {IdempotencyKeyReusedError} the key stands for another input
 * @throws {DatabaseUnavailableError} nothing was written
 * @throws {OutcomeUnknownError} the connection was lost during the append, and nothing can be told
 */
export async function executeDecision(
  runtime: CommandRuntime,
  definition: DecidingCommand,
  input: unknown,
  options: ExecuteOptions,
): Promise<CommandOutcome> {
  refuseInsideCommand(`execute(${JSON.stringify(definition.commandName)})`)
  const job = await prepareDecision(runtime, definition, input, options)
  return inTurn(job, () => carryOut(job))
}

/** Everything that needs no turn: parsing, the stream's id, the key. */
export async function prepareDecision(
  runtime: CommandRuntime,
  definition: DecidingCommand,
  input: unknown,
  options: ExecuteOptions,
): Promise<DecisionJob> {
  const { commandName: name, '~model': model } = definition
  const { ifVersion, idempotencyKey } = options
  if (ifVersion !== undefined && !(Number.isSafeInteger(ifVersion) && ifVersion >= 0)) {
    throw new InvalidInputError(name, [{ path: ['ifVersion'], message: 'is a whole number from 0' }])
  }
  const parsed = await parse(name, definition.input, input)
  const stream = definition['~stream'](parsed as never)
  const fault = streamIdFault(stream)
  if (fault) throw new InvalidInputError(name, [{ path: [], message: `the id of its stream ${fault}` }])
  const place = { runtime: eventRuntime(runtime, name), model, stream, key: `${model.aggregateName}-${stream}` }
  const use = idempotencyKey === undefined ? undefined : keyUse(runtime, name, idempotencyKey, input)
  return { place, definition, input: parsed, options, use }
}

/** Runs `work` when no other command of this process is at work on the stream. */
export function inTurn<T>({ place }: DecisionJob, work: () => Promise<T>): Promise<T> {
  return place.runtime.states.turns.run(place.key, work)
}

const triesMax = 10
const pauses = { baseMs: 2, maxMs: 200 }

/** Decides and appends. Call it in the stream's turn. */
export function carryOut(job: DecisionJob): Promise<CommandOutcome> {
  return droppingStates(job.place.runtime, () => decideAndAppend(job))
}

async function decideAndAppend(job: DecisionJob): Promise<CommandOutcome> {
  const { place, definition, options } = job
  const { epoch } = place.runtime.states
  const { commandName: name } = definition
  let held = await loadState(place, name)
  for (let tries = 1; ; ) {
    const judgement = await judge(definition, place.stream, job.input, options, held)
    if (judgement.kind !== 'events' && !held.fresh) {
      // No append will check the version of a state from the cache, so what others wrote meanwhile is looked for here.
      const { version } = held
      held = await catchUp(place, held, name)
      if (held.version !== version) continue
    }
    if (judgement.kind === 'failure') return answeredBefore(job, judgement.error)
    if (judgement.kind !== 'events' && !job.use) return withoutAppend(judgement, held)
    const outcome = await append(job, judgement, held)
    if (outcome.status === 'appended') return appended(job, judgement, held, outcome, epoch)
    if (outcome.status === 'duplicate') {
      const answer = await recorded(job)
      if (answer) return answer
    }
    const conflict = conflictOf(job, outcome, held)
    if (tries++ >= triesMax || (outcome.status === 'conflict' && options.ifVersion !== undefined)) return answeredBefore(job, conflict)
    await pause(job, outcome, tries)
    held = await catchUp(place, held, name)
  }
}

/** A refusal, or success with nothing to do, that no key asks to record. */
function withoutAppend(judgement: Judgement, { version }: LoadedState): CommandOutcome {
  if (judgement.kind === 'refusal') throw judgement.refusal
  return { result: { version }, write: undefined, position: undefined, replayed: false }
}

function append({ place, definition, options, use }: DecisionJob, judgement: Judgement, held: LoadedState): Promise<AppendOutcome> {
  const { runtime, model, stream } = place
  const metadata = eventMetadata(definition.commandName, options)
  const decided = judgement.kind === 'events' ? judgement.events : []
  const events = decided.map((event) => ({ ...event, id: randomUUID(), metadata }))
  const streams = events.length > 0 ? [{ aggregate: model.aggregateName, stream, expected: held.version, events }] : []
  const request: AppendRequest = use ? { streams, answer: answerFor(use, judgement, held.version + events.length) } : { streams }
  return runtime.eventLog.append(request)
}

/** What is recorded under the key. The version is known before the append, since that happens at an exact version or not at all. */
function answerFor({ name, key, inputHash }: KeyUse, judgement: Judgement, version: number): KeyedAnswer {
  if (judgement.kind !== 'refusal') return { command: name, key, inputHash, result: { version } }
  const { code, details } = judgement.refusal
  return { command: name, key, inputHash, refusal: { code, details } }
}

function appended(
  { place }: DecisionJob,
  judgement: Judgement,
  held: LoadedState,
  outcome: AppendOutcome & { readonly status: 'appended' },
  epoch: number,
): CommandOutcome {
  if (judgement.kind === 'refusal') throw judgement.refusal
  const version = outcome.versions[0] ?? held.version
  if (judgement.kind === 'events') {
    keepState(place, { state: judgement.state, version, snapshotVersion: held.snapshotVersion }, epoch)
  }
  return { result: { version }, write: { xid: outcome.xid, fanOut: false }, position: outcome.position, replayed: false }
}

/**
 * A command that can no longer be decided may be one that was carried out long ago and is sent again: its key knows.
 * @throws the error when it does not
 */
async function answeredBefore(job: DecisionJob, error: unknown): Promise<CommandOutcome> {
  const answer = await recorded(job)
  if (answer) return answer
  throw error
}

/** The recorded answer of the job's key; undefined without one. A recorded refusal is thrown. */
async function recorded({ place, use }: DecisionJob): Promise<CommandOutcome | undefined> {
  const record = use && (await readRecord(place.runtime.database, use, ''))
  if (record?.state === 'refused') throw new Rejection(record.code ?? '', record.result)
  if (record?.state !== 'done') return undefined
  return { result: record.result, write: record.write, position: await headPosition(place.runtime), replayed: true }
}

/** The error that ends the tries, should this have been the last one. */
function conflictOf({ place, use }: DecisionJob, outcome: AppendOutcome, { version }: LoadedState): Error {
  const { aggregateName } = place.model
  if (outcome.status === 'conflict') return new VersionConflictError(aggregateName, place.stream, version, outcome.actual)
  if (outcome.status === 'duplicate' && use) return keyInUse(use)
  if (outcome.status === 'stale') {
    return new VersionConflictError(aggregateName, place.stream, 'rows of sync read models as they were', version)
  }
  return new UsageError(`${aggregateName} ${place.stream}: the log answered ${outcome.status}, which nothing asked for`)
}

async function pause({ place, definition }: DecisionJob, { status }: AppendOutcome, tries: number): Promise<void> {
  const pauseMs = pauseBefore(tries - 1, pauses)
  place.runtime.log('debug', 'a command decides again', {
    command: definition.commandName,
    stream: place.key,
    because: status,
    tries,
    pauseMs,
  })
  await place.runtime.clock.sleep(pauseMs)
}
