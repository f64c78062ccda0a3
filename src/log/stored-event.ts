import type { Event, EventMetadata } from '../message/event.ts'
import { partsOfStream } from './stored-stream.ts'

/** The columns of {@link storedColumns}, in their order, as an array. */
export type StoredEvent = readonly [
  position: number,
  stream: string,
  version: number,
  id: string,
  type: string,
  schemaVersion: number,
  data: unknown,
  metadata: EventMetadata,
  time: string,
]

/** What a statement selects to read events. */
export const storedColumns = 'position, stream, version, id, type, schema_version, data, metadata, time'

/** A row as an event. */
export function eventOf([position, stored, version, id, type, schemaVersion, data, metadata, time]: StoredEvent): Event {
  const { aggregate, stream } = partsOfStream(stored)
  return { id, type, aggregate, stream, version, position, time, schemaVersion, data, metadata }
}
