import { HandlerError, LogMismatchError } from '../errors.ts'
import type { Event, EventSource } from '../message/event.ts'
import type { Schema } from '../message/schema.ts'
import { keyOf, keyText } from '../read-model/key-text.ts'
import { indexText } from '../read-model/order-text.ts'
import type { Parked } from '../read-model/store.ts'
import type { Handler, ProjectionDefinition } from './projection-definition.ts'
import { freeze, rowValue } from './row-value.ts'
import { withheld } from './withheld.ts'

/** A projection made ready to fold. */
export interface Folding {
  readonly name: string
  readonly sources: ReadonlyMap<string, EventSource>
  readonly handlers: ReadonlyMap<string, Handler>
  readonly key: ((event: Event) => unknown) | undefined
  /** Sync projections see neither position nor time, also when they catch up. */
  readonly sync: boolean
  /** Whether every event of a key is handled in the order of one stream, so that versions have no gap. */
  readonly consecutive: boolean
  readonly row: Schema
  readonly indexes: readonly { readonly name: string; readonly fields: readonly string[] }[]
}

/** What is known of a key: its row, up to where it is folded, and whether it is set aside. */
export interface Entry {
  /** Frozen. */
  readonly row: object | undefined
  /** Of the last event in it. 0: none. */
  readonly position: number
  readonly version: number | null
  readonly parked: Parked | undefined
}

/** An event with the keys it belongs to. */
export interface Routed {
  readonly event: Event
  readonly keys: readonly string[]
  /** Of the event, which a sync projection's handlers cannot see. */
  readonly position: number
}

/** A key with nothing in it. */
export const nothing: Entry = { row: undefined, position: 0, version: null, parked: undefined }

export function foldingOf(name: string, { from, on, key, update, row, indexes }: ProjectionDefinition): Folding {
  const [only] = from
  return {
    name,
    sources: new Map(from.map((source) => [source.aggregateName, source])),
    handlers: new Map(Object.entries(on)),
    key,
    sync: update === 'sync',
    consecutive: key === undefined && from.length === 1 && Object.keys(only?.schemas ?? {}).every((type) => Object.hasOwn(on, type)),
    row,
    indexes: Object.entries(indexes).map(([name, fields]) => ({ name, fields })),
  }
}

/**
 * The event as its handler gets it, with its keys; undefined where no handler wants it.
 * @throws {UnknownEventError} its type or schema version is not known: the read model must stop
 * @throws {HandlerError} the key function failed, so there is no key to park: the read model must stop
 */
export function route(folding: Folding, stored: Event): Routed | undefined {
  const source = folding.sources.get(stored.aggregate)
  if (!source) return undefined
  if (!folding.handlers.has(stored.type) && Object.hasOwn(source.schemas, stored.type)) return undefined
  const read = source['~read'](stored)
  if (!folding.handlers.has(read.type)) return undefined
  freeze(read.data)
  const event = folding.sync ? withheld(read) : read
  return { event, keys: keysOf(folding, event, stored.position), position: stored.position }
}

/** @throws {HandlerError} */
export function keysOf(folding: Folding, event: Event, position: number | undefined): readonly string[] {
  try {
    if (!folding.key) return [keyText(event.stream)]
    const found = folding.key(event)
    if (!Array.isArray(found)) return [keyText(found)]
    const keys = found.map(keyText)
    return keys.length > 1 ? [...new Set(keys)] : keys
  } catch (error) {
    throw new HandlerError(
      `${folding.name}: the key of ${event.type}${position === undefined ? '' : ` at position ${position}`} could not be told: ${messageOf(error)}; without a key it cannot be parked, so the read model stops`,
      { cause: error },
    )
  }
}

/**
 * What an event makes of its key. What is parked, or folded already, stays as it is; a handler that fails parks the key.
 * @throws {LogMismatchError} the event does not follow the one before it in its stream
 */
export function foldEvent(folding: Folding, entry: Entry, key: string, event: Event, position: number): Entry {
  if (entry.parked || position <= entry.position) return entry
  if (folding.consecutive && entry.version !== null && event.version !== entry.version + 1) {
    throw new LogMismatchError(
      `${folding.name}: at position ${position} ${event.aggregate} ${event.stream} has version ${event.version}, which does not follow ${entry.version}`,
      { position, stream: event.stream, version: event.version, expected: entry.version + 1 },
    )
  }
  try {
    return step(folding, entry, key, event, { position, version: folding.key ? null : event.version })
  } catch (error) {
    return { ...entry, parked: { position, eventId: event.id, reason: messageOf(error) } }
  }
}

/** What an event makes of its key, whatever its position. Throws what the handler throws. */
export function step(
  folding: Folding,
  entry: Entry,
  key: string,
  event: Event,
  at: { readonly position: number; readonly version: number | null },
): Entry {
  const handler = folding.handlers.get(event.type) as (row: unknown, event: unknown, key: unknown) => unknown
  const made = call(handler, entry.row, event, key)
  // Where versions are checked, an event that leaves the row is remembered too, or the next one would not seem to follow.
  if (made === undefined)
    return folding.consecutive && entry.row ? { row: entry.row, position: at.position, version: at.version, parked: undefined } : entry
  // What a store remembers of a row that is gone is its own affair, so its version is not compared with what comes.
  if (made === null) return { row: undefined, position: at.position, version: null, parked: undefined }
  if (made !== entry.row) checkRow(folding, made, key)
  return { row: made as object, position: at.position, version: at.version, parked: undefined }
}

/** The composite key is taken apart only for a handler that asks for it. */
function call(handler: (row: unknown, event: unknown, key: unknown) => unknown, row: unknown, event: Event, key: string): unknown {
  try {
    return handler(row, event, handler.length === 1 || handler.length === 2 ? undefined : keyOf(key))
  } catch (error) {
    if (!(error instanceof TypeError) || !/read only|not extensible|Cannot (add|delete|assign|redefine)/.test(error.message)) throw error
    throw new HandlerError(
      `the handler changed what it was given (${error.message}); return a new row instead: { ...row, member: value }`,
      {
        cause: error,
      },
    )
  }
}

const indexBytesMax = 2048

function checkRow(folding: Folding, made: unknown, key: string): void {
  if (isThenable(made)) {
    made.then(undefined, () => undefined)
    throw new HandlerError('the handler returned a promise; handlers are synchronous, and what they need is in the event')
  }
  const row = rowValue(made)
  const result = folding.row['~standard'].vendor === 'headwater' ? undefined : folding.row['~standard'].validate(row)
  if (isThenable(result)) result.then(undefined, () => undefined)
  else if (result?.issues) {
    const [issue] = result.issues
    const path = (issue?.path ?? []).map((part) => String(typeof part === 'object' ? part.key : part)).join('.')
    throw new HandlerError(`the row does not match its schema${path ? ` at ${path}` : ''}: ${issue?.message ?? 'refused'}`)
  }
  if (folding.indexes.length === 0) return
  for (const [i, text] of indexTexts(folding, row, key).entries()) {
    if (text.length > indexBytesMax / 3 && Buffer.byteLength(text) > indexBytesMax) {
      throw new HandlerError(`what index ${folding.indexes[i]?.name} orders the row by is longer than ${indexBytesMax} bytes`)
    }
  }
}

/** The texts that order a row in the declared indexes. */
export function indexTexts(folding: Folding, row: object, key: string): readonly string[] {
  return folding.indexes.map(({ fields }) => indexText(fields, row as Record<string, unknown>, key))
}

function isThenable(value: unknown): value is PromiseLike<unknown> & { then(a: undefined, b: () => undefined): void } {
  return typeof value === 'object' && value !== null && 'then' in value && typeof value.then === 'function'
}

export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
