import { HandlerError } from '../errors.ts'
import { jsonFault } from '../internal/json.ts'
import type { CommandMessage } from '../message/command.ts'
import type { Event } from '../message/event.ts'
import type { Reaction } from './reaction.ts'

/** What one event of the log asks for. */
export interface Handled {
  /** In which order: those of one key one after the other. */
  readonly key: string
  /** What to send; or why the handler could not tell. */
  readonly outcome: { readonly messages: readonly CommandMessage[] } | { readonly error: string }
}

const keyBytesMax = 512

/**
 * Runs a reaction's handler for an event as the log holds it. Undefined: the event is none of the reaction's. What the handler does wrong is in the
 * outcome, for it concerns this event alone.
 * @throws {UnknownEventError} the event is of a type or schema version that this code does not know
 * @throws {HandlerError} the key cannot be told, so that nothing can be put aside for it
 */
export function handle(reaction: Reaction, stored: Event): Handled | undefined {
  const { sources, handlers } = reaction['~reaction']
  const source = sources.get(stored.aggregate)
  const handler = handlers.get(stored.type)
  if (!source || !handler || !Object.hasOwn(source.schemas, stored.type)) return undefined
  const event = source['~read'](stored)
  const key = keyOf(reaction, event)
  try {
    return { key, outcome: { messages: messagesOf(reaction, event, handler(event)) } }
  } catch (error) {
    return { key, outcome: { error: describe(error) } }
  }
}

/** What an error says, with what lay beneath it, in one line that fits a table. */
export function describe(error: unknown): string {
  const said = error instanceof Error ? `${error.name}: ${error.message}` : String(error)
  const cause = error instanceof Error && error.cause !== undefined ? ` (caused by ${String(error.cause)})` : ''
  return `${said}${cause}`.replaceAll('\u0000', '').toWellFormed().slice(0, 2000)
}

function keyOf(reaction: Reaction, event: Event): string {
  const { key } = reaction['~reaction']
  if (!key) return `${event.aggregate}-${event.stream}`
  const place = `reaction ${reaction.reactionName}: position ${event.position} (${event.type}): its key`
  let value: unknown
  try {
    value = key(event)
  } catch (error) {
    throw new HandlerError(`${place} cannot be told: ${describe(error)}; mend "key" and deploy`, { cause: error })
  }
  if (typeof value !== 'string' || value === '')
    throw new HandlerError(`${place} is ${JSON.stringify(value)}; "key" returns a text that is not empty`)
  const fault = Buffer.byteLength(value) > keyBytesMax ? `has more than ${keyBytesMax} bytes` : jsonFault(value)?.message
  if (fault) throw new HandlerError(`${place} ${fault}`)
  return value
}

function messagesOf(reaction: Reaction, event: Event, returned: unknown): readonly CommandMessage[] {
  const place = `reaction ${reaction.reactionName}: the handler of ${event.type}`
  if (returned === undefined) return []
  if (returned instanceof Promise || typeof (returned as { then?: unknown } | null)?.then === 'function') {
    if (returned instanceof Promise) returned.catch(() => {})
    throw new HandlerError(`${place} returned a promise; handlers are plain functions of their event, and what takes time is a command`)
  }
  const list: readonly unknown[] = Array.isArray(returned) ? returned : [returned]
  return list.map((message) => checked(place, message))
}

function checked(place: string, message: unknown): CommandMessage {
  const { command, input } = (message ?? {}) as Partial<CommandMessage>
  if (typeof command !== 'string') {
    throw new HandlerError(
      `${place} returned ${JSON.stringify(message)}; return what a command makes, such as deposit({ accountId, amount })`,
    )
  }
  const fault = jsonFault(input)
  if (fault)
    throw new HandlerError(`${place}: the input of ${command}${fault.path.length ? ` at ${fault.path.join('.')}` : ''} ${fault.message}`)
  return { command, input }
}
