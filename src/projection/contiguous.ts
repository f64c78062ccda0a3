import { LogMismatchError } from '../errors.ts'
import type { Event } from '../message/event.ts'

/** The events up to the first that does not follow the one before it. */
export function contiguous(name: string, after: number, events: readonly Event[]): { good: readonly Event[]; fault: Error | undefined } {
  const at = events.findIndex((event, i) => event.position !== after + i + 1)
  if (at < 0) return { good: events, fault: undefined }
  const [found, expected] = [events[at]?.position ?? 0, after + at + 1]
  const what = found > expected ? 'a hole' : 'an event again, or out of order'
  return {
    good: events.slice(0, at),
    fault: new LogMismatchError(`${name}: the log gave position ${found} where ${expected} follows: ${what}`, { expected, found }),
  }
}
