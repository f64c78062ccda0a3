import type { Event, EventMetadata } from '../message/event.ts'
import { partsOfStream } from './stored-stream.ts'

/** The columns of {@link storedColumns}, in their order, as an array. */
export type StoredEvent = readonly [position: number, head: string, contents: string]

/**
 * What a statement selects to read events. A value of its own costs a process more to receive than to cut it out of a longer text, so there are few: what
 * is short in one, its parts divided by bars, of which none but the last can hold one; and metadata and data, which are JSON and so hold no U+0001.
 */
export const storedColumns = columnsOf('stream')

/** The same where the statement does not give the stream; it is empty then. */
export const streamlessColumns = columnsOf("''")

function columnsOf(stream: string): string {
  return `position,
    version || '|' || schema_version || '|' || id || '|' || to_json(time at time zone 'UTC') || '|' || type || '|' || ${stream} as head,
    metadata::text || E'\\x01' || data::text as contents`
}

/** A row as an event. */
export function eventOf([position, head, contents]: StoredEvent): Event {
  const schemaAt = head.indexOf('|') + 1
  const idAt = head.indexOf('|', schemaAt) + 1
  const timeAt = head.indexOf('|', idAt) + 1
  const typeAt = head.indexOf('|', timeAt) + 1
  const streamAt = head.indexOf('|', typeAt) + 1
  const dataAt = contents.indexOf('\u0001') + 1
  const { aggregate, stream } = partsOfStream(head.slice(streamAt))
  return {
    id: head.slice(idAt, timeAt - 1),
    type: head.slice(typeAt, streamAt - 1),
    aggregate,
    stream,
    version: Number(head.slice(0, schemaAt - 1)),
    position,
    time: timeOf(head.slice(timeAt + 1, typeAt - 2)),
    schemaVersion: Number(head.slice(schemaAt, idAt - 1)),
    data: JSON.parse(contents.slice(dataAt)),
    metadata: JSON.parse(contents.slice(0, dataAt - 1)) as EventMetadata,
  }
}

/** A time of JSON as the port gives times: in UTC, with six digits of seconds. */
function timeOf(text: string): string {
  if (text.length === 26) return `${text}Z`
  return `${text.includes('.') ? text.padEnd(text.indexOf('.') + 7, '0') : `${text}.000000`}Z`
}
