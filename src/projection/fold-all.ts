import type { Event } from '../message/event.ts'
import { type Entry, foldEvent, foldingOf, nothing, route } from './fold.ts'
import type { FoldedRow, ProjectionDefinition } from './projection-definition.ts'

/**
 * Folds events in memory, one after the other, and gives every key that they touched, in the order of the first touch.
 * @throws {HandlerError} an event without a key
 * @throws {UnknownEventError}
 */
export function foldAll(name: string, definition: ProjectionDefinition, events: readonly Event[]): readonly FoldedRow[] {
  const folding = foldingOf(name, definition)
  const folded = new Map<string, Entry>()
  for (const stored of events) {
    const routed = route(folding, stored)
    for (const key of routed?.keys ?? []) {
      if (routed) folded.set(key, foldEvent(folding, folded.get(key) ?? nothing, key, routed.event, routed.position))
    }
  }
  return [...folded].map(([key, { row, parked }]) => ({ key, row, parked }))
}
