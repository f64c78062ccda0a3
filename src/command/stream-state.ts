import { DatabaseUnavailableError, OutcomeUnknownError, UsageError } from '../errors.ts'
import { deepFreeze } from '../internal/deep-freeze.ts'
import type { EventLog } from '../log/log.ts'
import type { EventModel } from '../message/command.ts'
import type { StateEvent } from '../message/event.ts'
import type { CommandRuntime } from './command-runtime.ts'
import type { Snapshots } from './snapshots.ts'
import type { HeldState, StateCache } from './state-cache.ts'

/** What commands of aggregates need from the application. */
export interface EventRuntime extends CommandRuntime {
  readonly eventLog: EventLog
  readonly states: StateCache
  /** Left out: no aggregate has snapshots. */
  readonly snapshots?: Snapshots
}

/** The same runtime, if it has what commands of aggregates need. @throws {UsageError} */
export function eventRuntime(runtime: CommandRuntime, command: string): EventRuntime {
  if (hasLog(runtime)) return runtime
  throw new UsageError(`${command}: this application was put together without an event log`)
}

function hasLog(runtime: CommandRuntime): runtime is EventRuntime {
  return runtime.eventLog !== undefined && runtime.states !== undefined
}

/** One stream of an aggregate. */
export interface StreamPlace {
  readonly runtime: EventRuntime
  readonly model: EventModel
  readonly stream: string
  /** Tells it from all other streams: an aggregate's name has no hyphen. */
  readonly key: string
}

/** A state, and whether it was read just now or may be behind what other processes wrote. */
export interface LoadedState extends HeldState {
  readonly fresh: boolean
}

/**
 * The state of a stream for a command: as this process last saw it, else from its newest snapshot and the events after that. A command that has
 * begun streams each time gets the initial state without a look.
 */
export async function loadState(place: StreamPlace, command: string): Promise<LoadedState> {
  const { runtime, model, stream, key } = place
  const cached = runtime.states.get(key)
  if (cached) return { ...cached, fresh: false }
  const every = model['~snapshotEvery']
  const { beginnings } = runtime.states
  // Where there are snapshots a wrong guess would cost a stream read from its first event.
  if (every === undefined && beginnings.expects(command)) return { ...beginning(model), fresh: false }
  const snapshot = every === undefined ? undefined : await runtime.snapshots?.read(model, stream)
  const base = snapshot && { state: deepFreeze(snapshot.state), version: snapshot.version, snapshotVersion: snapshot.version }
  const loaded = await readOn(place, base ?? beginning(model))
  beginnings.found(command, loaded.version)
  return loaded
}

/** The same state with what was appended since. */
export async function catchUp(place: StreamPlace, { state, version, snapshotVersion }: HeldState, command: string): Promise<LoadedState> {
  const loaded = await readOn(place, { state, version, snapshotVersion })
  place.runtime.states.beginnings.found(command, loaded.version)
  return loaded
}

/** Keeps the state for the next command, and as a snapshot when it is time for one. `epoch`: the cache's when the state was read. */
export function keepState({ runtime, model, stream, key }: StreamPlace, held: HeldState, epoch: number): HeldState {
  const every = model['~snapshotEvery']
  const due = every !== undefined && runtime.snapshots !== undefined && held.version - held.snapshotVersion >= every
  if (due) runtime.snapshots?.write({ model, stream, version: held.version, state: held.state })
  const kept = due ? { ...held, snapshotVersion: held.version } : held
  runtime.states.put(key, kept, epoch)
  return kept
}

/** The state after stored events. */
function fold(model: EventModel, state: unknown, events: readonly StateEvent[]): unknown {
  return deepFreeze(events.reduce((folded, event) => model['~evolve'](folded, model['~read'](event)), state))
}

function beginning(model: EventModel): HeldState {
  return { state: deepFreeze(model['~initialState']()), version: 0, snapshotVersion: 0 }
}

async function readOn(place: StreamPlace, base: HeldState): Promise<LoadedState> {
  const { runtime, model, stream } = place
  const { epoch } = runtime.states
  const slice = await runtime.eventLog.readState(model.aggregateName, stream, base.version)
  if (slice.version < base.version) {
    // The log is shorter than it was: another database answers, or a restored one. No state made from what is gone may decide anything.
    runtime.states.clear()
    runtime.log('warn', 'a stream is shorter than it was; the states of streams in memory were dropped', {
      aggregate: model.aggregateName,
      stream,
      had: base.version,
      found: slice.version,
    })
    return readOn(place, beginning(model))
  }
  const state = fold(model, base.state, slice.events)
  const kept = keepState(place, { state, version: slice.version, snapshotVersion: base.snapshotVersion }, epoch)
  return { ...kept, fresh: true }
}

/** Forgets all states when a connection was lost: the server that answers next may have lost events that they were made from. */
export async function droppingStates<T>(runtime: EventRuntime, work: () => Promise<T>): Promise<T> {
  try {
    return await work()
  } catch (error) {
    if (error instanceof DatabaseUnavailableError || error instanceof OutcomeUnknownError) runtime.states.clear()
    throw error
  }
}
