import { createHash } from 'node:crypto'
import { DefinitionError, HandlerError, type Rejection } from '../errors.ts'
import type { Immutable } from '../internal/immutable.ts'
import type { CheckedEvent, Context, EventCommand, EventModel, EventWriter } from '../message/command.ts'
import type { EventMakers, EventSchemas, NewEvent, NewEventOf } from '../message/event.ts'
import { checkMessageName } from '../message/name.ts'
import type { InputOf, OutputOf, Schema } from '../message/schema.ts'
import { checkNewEvent } from './new-event.ts'
import { Upcaster, type Upcasts } from './upcast.ts'

/** What `decide` may use besides state and input. */
export interface DecideContext<Schemas extends EventSchemas> {
  readonly events: EventMakers<Schemas>
  /** Who is asking. */
  readonly context: Context
}

/** Events of one kind of thing, and the state they amount to. It stands in `from` of projections and reactions too. */
export interface Aggregate<Name extends string = string, Schemas extends EventSchemas = EventSchemas, State = unknown>
  extends EventModel,
    EventWriter<Name, Schemas> {
  readonly aggregateName: Name
  readonly schemas: Schemas
  /** Makes new events: `events.MoneyDeposited({ amount: 5 })`. */
  readonly events: EventMakers<Schemas>
  /**
   * Defines a command on one stream. `decide` is pure: from the state and the input it returns the events to append (none: nothing to do) or refuses with
   * `reject()`, returned or thrown. It may run several times, on newer states each time, when others write to the stream meanwhile.
   *
   * @example
   * export const deposit = account.command('deposit', {
   *   input: z.object({ accountId: z.string(), amount: z.int().positive() }),
   *   stream: ({ accountId }) => accountId,
   *   decide(state, { amount }, { events }) {
   *     if (state.status !== 'open') return reject('account_not_open')
   *     return [events.MoneyDeposited({ amount })]
   *   },
   * })
   */
  command<const CommandName extends string, Input extends Schema>(
    name: CommandName,
    definition: {
      readonly input: Input
      /** The id of the stream that the command is about: 1 to 256 bytes. */
      readonly stream: (input: OutputOf<Input>) => string
      readonly decide: (
        state: Immutable<State>,
        input: OutputOf<Input>,
        context: DecideContext<Schemas>,
      ) => readonly NewEventOf<Schemas>[] | Rejection
    },
  ): EventCommand<CommandName, Input>
}

/** How an aggregate is defined. */
export interface AggregateDefinition<Schemas extends EventSchemas, State> {
  /** Event types with the schemas of their data. A type's name is unique in an application. */
  readonly events: Schemas
  /** The state before any event. Annotate its return type: that is the one place where the state's type stands. */
  readonly initialState: () => State
  /** The state after an event: pure, and a new value where something changes. */
  readonly evolve: { readonly [T in keyof Schemas]: (state: Immutable<State>, data: OutputOf<Schemas[T]>) => Immutable<NoInfer<State>> }
  /**
   * For types whose schema has changed while events of older versions are in the log: how those are read. `[v1to2, v2to3]` makes 3 the version that
   * new events are written with.
   */
  readonly upcast?: { readonly [T in keyof Schemas]?: Upcasts<Immutable<OutputOf<Schemas[T]>>> }
  /** Keeps the state of a stream each time it grew by so many events, so that the whole stream need not be read. The state is plain JSON then. */
  readonly snapshot?: { readonly every: number }
  /** Raise it when states change through code outside `initialState`, `evolve` and `upcast`: snapshots of the version before are then ignored. */
  readonly version?: number
}

/**
 * Defines an aggregate: which events there are, and what state they amount to.
 *
 * @example
 * export const account = aggregate('account', {
 *   events: { AccountOpened: z.object({ owner: z.string() }), MoneyDeposited: z.object({ amount: z.int() }) },
 *   initialState: (): Account => ({ status: 'none', balance: 0 }),
 *   evolve: {
 *     AccountOpened: (state, { owner }) => ({ ...state, status: 'open', owner }),
 *     MoneyDeposited: (state, { amount }) => ({ ...state, balance: state.balance + amount }),
 *   },
 * })
 * @throws {DefinitionError} a name that cannot work, a type without `evolve`, a count that is none
 */
export function aggregate<const Name extends string, Schemas extends EventSchemas, State>(
  name: Name,
  definition: AggregateDefinition<Schemas, State>,
): Aggregate<Name, Schemas, State> {
  check(name, definition)
  const types = Object.keys(definition.events)
  const events = makers(definition.events)
  const upcaster = new Upcaster(name, new Map(types.map((type) => [type, definition.upcast?.[type] ?? []])))
  const evolve = new Map<string, Evolve>(Object.entries(definition.evolve) as [string, Evolve][])
  const model: EventModel = {
    aggregateName: name,
    schemas: definition.events,
    '~read': (event) => upcaster.read(event),
    '~write': (event): CheckedEvent | Promise<CheckedEvent> => checkNewEvent(model, event, upcaster.newest(event?.type)),
    '~initialState': definition.initialState,
    '~evolve': (state, event) => evolved(name, evolve.get(event.type), state, event),
    '~fingerprint': fingerprint(definition),
    '~snapshotEvery': definition.snapshot?.every,
  }
  return Object.assign(model as EventModel & EventWriter<Name, Schemas>, {
    events,
    command: <const CommandName extends string, Input extends Schema>(
      commandName: CommandName,
      parts: Parameters<Aggregate<Name, Schemas, State>['command']>[1] & { readonly input: Input },
    ) => eventCommand(commandName, parts.input, parts as unknown as Deciding, model, events),
  }) as Aggregate<Name, Schemas, State>
}

interface AnyDefinition {
  readonly events: EventSchemas
  readonly initialState: () => unknown
  readonly evolve: Readonly<Record<string, unknown>>
  readonly upcast?: Readonly<Record<string, unknown>>
  readonly snapshot?: { readonly every: number }
  readonly version?: number
}

type Evolve = (state: unknown, data: unknown) => unknown

interface Deciding {
  readonly stream: (input: unknown) => string
  readonly decide: (state: unknown, input: unknown, context: DecideContext<EventSchemas>) => readonly NewEvent[] | Rejection
}

function eventCommand<Name extends string, Input extends Schema>(
  name: Name,
  input: Input,
  { stream, decide }: Deciding,
  model: EventModel,
  events: EventMakers<EventSchemas>,
): EventCommand<Name, Input> {
  checkMessageName('command', name)
  return Object.assign((message: InputOf<Input>) => ({ command: name, input: message }), {
    commandName: name,
    input,
    '~result': undefined as unknown as { readonly version: number },
    '~kind': 'events' as const,
    '~model': model,
    '~stream': stream,
    '~decide': (state: unknown, parsed: unknown, context: Context) => decide(state, parsed, { events, context }),
  })
}

function makers<Schemas extends EventSchemas>(schemas: Schemas): EventMakers<Schemas> {
  const made = Object.keys(schemas).map((type) => [type, (data: unknown): NewEvent => ({ type, data })])
  return Object.freeze(Object.fromEntries(made)) as EventMakers<Schemas>
}

function evolved(name: string, evolve: Evolve | undefined, state: unknown, event: NewEvent): unknown {
  const next = evolve?.(state, event.data)
  if (next === undefined) throw new HandlerError(`${name}: evolve of ${event.type} gave undefined; it returns the state after the event`)
  if (typeof next === 'object' && next !== null && 'then' in next && typeof next.then === 'function')
    throw new HandlerError(`${name}: evolve of ${event.type} gave a promise; it is pure and synchronous`)
  return next
}

function check(name: string, definition: AnyDefinition): void {
  const refuse = (what: string) => {
    throw new DefinitionError(`aggregate ${JSON.stringify(name)}: ${what}`)
  }
  // No hyphen: the log keeps a stream as `<aggregate>-<id>`.
  if (!/^[A-Za-z][A-Za-z0-9_]{0,63}$/.test(name)) refuse('a name has 1 to 64 letters, digits or "_", and begins with a letter')
  const types = Object.keys(definition.events)
  if (types.length === 0) refuse('it has no events')
  for (const type of types) {
    if (!/^[A-Za-z][A-Za-z0-9_.-]{0,63}$/.test(type) || type === 'constructor' || type === 'prototype')
      refuse(`event ${JSON.stringify(type)}: a type has 1 to 64 letters, digits, "_", "." or "-", and begins with a letter`)
    if (typeof definition.evolve[type] !== 'function') refuse(`evolve has nothing for the event ${type}`)
  }
  const known = new Set(types)
  for (const type of Object.keys(definition.evolve)) if (!known.has(type)) refuse(`evolve has ${type}, which is none of its events`)
  for (const type of Object.keys(definition.upcast ?? {})) if (!known.has(type)) refuse(`upcast has ${type}, which is none of its events`)
  const { snapshot, version } = definition
  if (snapshot && !(Number.isInteger(snapshot.every) && snapshot.every >= 1)) refuse('snapshot.every is a whole number from 1')
  if (version !== undefined && !(Number.isInteger(version) && version >= 1)) refuse('version is a whole number from 1')
}

function fingerprint({ initialState, evolve, upcast, version }: AnyDefinition): string {
  const code = [initialState, ...sorted(evolve), ...sorted(upcast ?? {})]
  return `${version ?? 1}:${createHash('sha256').update(code.flat().map(String).join('\n')).digest('hex').slice(0, 32)}`
}

function sorted(parts: object): readonly unknown[] {
  return Object.entries(parts).sort(([a], [b]) => (a < b ? -1 : 1))
}
