import { checkName } from '../database/identifier.ts'
import { DefinitionError } from '../errors.ts'
import type { CommandMessage } from '../message/command.ts'
import type { Event, EventSource, EventsOf } from '../message/event.ts'
import { delayMs } from './delay.ts'

type Intersect<U> = (U extends unknown ? (u: U) => void : never) extends (i: infer I) => void ? I : never
type EventMap<From extends EventSource> = Intersect<From extends unknown ? EventsOf<From['schemas']> : never>
type EventIn<From extends EventSource> = From extends unknown
  ? EventsOf<From['schemas']>[keyof EventsOf<From['schemas']>] & { readonly aggregate: From['aggregateName'] }
  : never

/** What a handler of a reaction returns: a command to send, several in their order, or nothing. */
export type Reacted = CommandMessage | readonly CommandMessage[] | undefined

/** What the runtime knows of a reaction. */
export interface ReactionDefinition {
  readonly sources: ReadonlyMap<string, EventSource>
  /** The event types it has handlers for. */
  readonly types: readonly string[]
  readonly handlers: ReadonlyMap<string, (event: Event) => unknown>
  readonly key: ((event: Event) => unknown) | undefined
  readonly afterMs: number
}

/** A reaction's definition, as {@link reaction} makes it. */
export interface Reaction<Name extends string = string> {
  readonly reactionName: Name
  readonly '~reaction': ReactionDefinition
}

/**
 * Defines a reaction: events in, commands out. Each event that happens from the moment the reaction is first deployed is handed to its handler
 * once, and each command that it returns takes effect once, whatever process dies when; a refusal is an answer like any other. Commands of one
 * key (default: the event's stream) are carried out in the order of the events; a failing one is tried again, and then parked, and those of its
 * key wait behind it. With `after` they are carried out that long after the event, by the database's clock.
 *
 * A handler is a plain function of its event. It never runs for the past: not when it is changed, and not when a read model is rebuilt. An event
 * whose handler throws is parked.
 *
 * @example
 * export const refund = reaction('refund', {
 *   from: [transfer],
 *   on: { TransferFailed: ({ data }) => deposit({ accountId: data.from, amount: data.amount }) },
 * })
 * @throws {DefinitionError} a name, delay or event type that cannot be
 */
export function reaction<const Name extends string, From extends EventSource>(
  name: Name,
  definition: {
    readonly from: readonly From[]
    readonly on: { readonly [T in keyof EventMap<From>]?: (event: EventMap<From>[T]) => Reacted }
    /** How long after the event: `30s`, `5m`, `2h`, `3d`. */
    readonly after?: string
    /** What keeps commands in order with each other. Default: the event's stream. */
    readonly key?: (event: EventIn<From>) => string
  },
): Reaction<Name> {
  checkName('reaction', name)
  const sources = new Map(definition.from.map((source) => [source.aggregateName, source]))
  const handlers = new Map(
    Object.entries(definition.on).flatMap(([type, handler]): [string, (event: Event) => unknown][] => {
      if (handler === undefined) return []
      if (!definition.from.some(({ schemas }) => Object.hasOwn(schemas, type))) {
        throw new DefinitionError(`reaction ${name}: none of ${[...sources.keys()].join(', ') || 'no aggregate'} has an event ${type}`)
      }
      return [[type, handler as (event: Event) => unknown]]
    }),
  )
  return {
    reactionName: name,
    '~reaction': {
      sources,
      types: [...handlers.keys()],
      handlers,
      key: definition.key as ((event: Event) => unknown) | undefined,
      afterMs: definition.after === undefined ? 0 : delayMs(`reaction ${name}`, definition.after),
    },
  }
}
