import { type Rejection, UsageError, VersionConflictError } from '../errors.ts'
import { deepFreeze } from '../internal/deep-freeze.ts'
import type { CheckedEvent, Context, EventModel, ExecuteOptions } from '../message/command.ts'
import type { NewEvent } from '../message/event.ts'
import type { Schema } from '../message/schema.ts'
import { isRejection } from './is-rejection.ts'
import { plainRejection } from './plain-json.ts'
import type { HeldState } from './state-cache.ts'

/** Any definition of a command of an aggregate, whatever its input. */
export interface DecidingCommand {
  readonly '~kind': 'events'
  readonly commandName: string
  readonly input: Schema
  readonly '~model': EventModel
  readonly '~stream': (input: never) => string
  readonly '~decide': (state: unknown, input: never, context: Context) => readonly NewEvent[] | Rejection
}

/** What a command says to one state of its stream. */
export type Judgement =
  | { readonly kind: 'events'; readonly events: readonly CheckedEvent[]; readonly state: unknown }
  | { readonly kind: 'nothing' }
  | { readonly kind: 'refusal'; readonly refusal: Rejection }
  /** It cannot be decided: the stream is not at the caller's version, or the definition is wrong. */
  | { readonly kind: 'failure'; readonly error: unknown }

/**
 * Lets the command decide, checks the events, and evolves the state by them, before anything is written: events that its aggregate cannot evolve would
 * make the stream unreadable. Never throws.
 */
export async function judge(
  definition: DecidingCommand,
  stream: string,
  input: unknown,
  options: ExecuteOptions,
  held: HeldState,
): Promise<Judgement> {
  const { commandName: name, '~model': model } = definition
  try {
    if (options.ifVersion !== undefined && options.ifVersion !== held.version) {
      throw new VersionConflictError(model.aggregateName, stream, options.ifVersion, held.version)
    }
    const decided = decide(definition, input, options.context ?? {}, held)
    if (isRejection(decided)) return { kind: 'refusal', refusal: plainRejection(name, decided) }
    if (decided.length === 0) return { kind: 'nothing' }
    const events: CheckedEvent[] = []
    for (const event of decided) events.push(await model['~write'](event))
    const state = deepFreeze(events.reduce((evolved, event) => model['~evolve'](evolved, event), held.state))
    return { kind: 'events', events, state }
  } catch (error) {
    return { kind: 'failure', error }
  }
}

function decide(definition: DecidingCommand, input: unknown, context: Context, held: HeldState): readonly NewEvent[] | Rejection {
  const decided = decisionOf(definition, input, context, held)
  if (isRejection(decided) || Array.isArray(decided)) return decided
  // Whoever gave a promise learns it from the error below, not from an unhandled rejection as well.
  if (decided instanceof Promise) decided.catch(() => {})
  const what =
    decided instanceof Promise ? 'a promise; it is synchronous: read what it needs before, and send it in the input' : typeof decided
  throw new UsageError(`${definition.commandName}: decide returned ${what}; it returns events or reject()`)
}

function decisionOf(definition: DecidingCommand, input: unknown, context: Context, held: HeldState): unknown {
  try {
    return definition['~decide'](held.state, input as never, context)
  } catch (error) {
    if (isRejection(error)) return error
    throw error
  }
}
