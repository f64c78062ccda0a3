import { deepStrictEqual } from 'node:assert/strict'
import {
  type Aggregate,
  type CheckedEvent,
  type Context,
  type EventCommand,
  type EventModel,
  type EventSchemas,
  HandlerError,
  type InputOf,
  InvalidInputError,
  isHeadwaterError,
  type NewEvent,
  type NewEventOf,
  Rejection,
  type Schema,
  UsageError,
} from '../index.ts'
import { deepFreeze } from '../internal/deep-freeze.ts'

/** What a command decided, to be compared with what it should have. */
export interface Decided<Schemas extends EventSchemas> {
  /** Fails unless the command decided exactly these events; without any: unless it decided none. Data goes through its schema on both sides. */
  then(...events: readonly NewEventOf<Schemas>[]): void
  /** Fails unless the command refused with this code, and, where given, these details. */
  thenRejected(code: string, details?: unknown): void
}

/** A stream as it was before the command. */
export interface Given<Schemas extends EventSchemas> {
  /** Lets a command of the aggregate decide. What is wrong with the input, or with `decide` itself, is thrown here. */
  when<Input extends Schema>(command: EventCommand<string, Input>, input: InputOf<Input>, context?: Context): Decided<Schemas>
}

/**
 * A test of one decision, in memory, for any test runner: it throws what the runner reports.
 *
 * @example
 * given(account, account.events.AccountOpened({ owner: 'Ann' }))
 *   .when(deposit, { accountId: 'a', amount: 5 })
 *   .then(account.events.MoneyDeposited({ amount: 5 }))
 */
export function given<Schemas extends EventSchemas, State>(
  aggregate: Aggregate<string, Schemas, State>,
  ...events: readonly NewEventOf<NoInfer<Schemas>>[]
): Given<Schemas> {
  const model: EventModel = aggregate
  const before = evolve(model, deepFreeze(model['~initialState']()), checked(model, events))
  return {
    when(command, input, context = {}) {
      if (command['~model'] !== model) {
        throw new UsageError(`${command.commandName} is a command of ${command['~model'].aggregateName}, not of ${model.aggregateName}`)
      }
      const decided = decide(command, before, parsed(command, input), context)
      // As in the application: events that cannot be evolved are not appended.
      if (!isRejection(decided)) evolve(model, before, decided)
      return comparison(command.commandName, model, decided)
    },
  }
}

/** A command whatever its input. */
interface Deciding {
  readonly commandName: string
  readonly input: Schema
  readonly '~model': EventModel
  readonly '~decide': (state: unknown, input: never, context: Context) => unknown
}

function comparison<Schemas extends EventSchemas>(
  name: string,
  model: EventModel,
  decided: readonly CheckedEvent[] | Rejection,
): Decided<Schemas> {
  return {
    then(...events) {
      if (events.some((event) => typeof event === 'function')) throw new UsageError('given().when() is not a promise: leave out the await')
      const expected = checked(model, events)
      if (isRejection(decided)) {
        throw failure(`${name} refused: ${decided.code}, where ${listed(expected)} was expected`, told(decided), expected.map(shown))
      }
      if (!equal(decided.map(shown), expected.map(shown))) {
        throw failure(`${name} decided ${listed(decided)}, where ${listed(expected)} was expected`, decided.map(shown), expected.map(shown))
      }
    },
    thenRejected(code, ...details) {
      const expected = { refused: code, ...(details.length > 0 && { details: details[0] }) }
      if (!isRejection(decided)) {
        throw failure(`${name} decided ${listed(decided)}, where the refusal ${code} was expected`, decided.map(shown), expected)
      }
      const got = details.length > 0 ? told(decided) : { refused: decided.code }
      if (!equal(got, expected)) throw failure(`${name} refused: ${decided.code}, where the refusal ${code} was expected`, got, expected)
    },
  }
}

function decide(command: Deciding, state: unknown, input: unknown, context: Context): readonly CheckedEvent[] | Rejection {
  let decided: unknown
  try {
    decided = command['~decide'](state, input as never, context)
  } catch (error) {
    if (isRejection(error)) return error
    throw error
  }
  if (isRejection(decided)) return decided
  if (!Array.isArray(decided))
    throw new UsageError(`${command.commandName}: decide returns events or reject(), at once; it returned ${decided}`)
  return checked(command['~model'], decided)
}

function checked(model: EventModel, events: readonly NewEvent[]): readonly CheckedEvent[] {
  return events.map((event) => {
    const written = model['~write'](event)
    if (written instanceof Promise) throw asynchronous(`${model.aggregateName}: the schema of ${event.type}`, written)
    return written
  })
}

function evolve(model: EventModel, state: unknown, events: readonly NewEvent[]): unknown {
  return events.reduce((evolved, event) => {
    try {
      // Frozen after each event, so that an `evolve` that changes what it was given is found here.
      return deepFreeze(model['~evolve'](evolved, deepFreeze(event)))
    } catch (error) {
      if (error instanceof TypeError && /read only|not extensible|Cannot (assign|add|delete)/.test(error.message)) {
        const message = `${model.aggregateName}: evolve of ${event.type} changes what it was given; it returns a new state: ${error.message}`
        throw new HandlerError(message, { cause: error })
      }
      throw error
    }
  }, state)
}

function parsed(command: Deciding, input: unknown): unknown {
  const result = command.input['~standard'].validate(input)
  if (result instanceof Promise) throw asynchronous(`${command.commandName}: its input's schema`, result)
  if (!result.issues) return result.value
  const issues = result.issues.map(({ path, message }) => ({
    path: (path ?? [])
      .map((step) => (typeof step === 'object' ? step.key : step))
      .map((key) => (typeof key === 'symbol' ? String(key) : key)),
    message,
  }))
  throw new InvalidInputError(command.commandName, issues)
}

function asynchronous(what: string, unawaited: Promise<unknown>): UsageError {
  unawaited.catch(() => {})
  return new UsageError(`${what} answers with a promise; given() is for schemas that answer at once`)
}

function isRejection(value: unknown): value is Rejection {
  return value instanceof Rejection || (isHeadwaterError(value) && value.name === Rejection.name)
}

function told({ code, details }: Rejection): object {
  return { refused: code, ...(details !== undefined && { details }) }
}

function shown({ type, data }: NewEvent): object {
  return { type, data }
}

function listed(events: readonly NewEvent[]): string {
  return events.map(({ type }) => type).join(', ') || 'no event'
}

function equal(actual: unknown, expected: unknown): boolean {
  try {
    deepStrictEqual(actual, expected)
    return true
  } catch {
    return false
  }
}

/** An error with the difference, and the two values for runners that show them in their own way. */
function failure(message: string, actual: unknown, expected: unknown): Error {
  try {
    deepStrictEqual(actual, expected)
  } catch (error) {
    if (error instanceof Error) error.message = `${message}\n\n${error.message}`
    return error as Error
  }
  return new Error(message)
}
