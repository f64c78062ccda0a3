import { UsageError } from '../errors.ts'
import type { Event } from '../message/event.ts'

/**
 * An event as a sync projection sees it. It is folded before the append, when its place in the log and its time do not exist yet, so that they are not
 * to be had later either: a rebuild must give the same rows.
 */
export function withheld(event: Event, options: { readonly version?: boolean } = {}): Event {
  const shown = { ...event }
  for (const name of options.version ? (['position', 'time', 'version'] as const) : (['position', 'time'] as const)) {
    Object.defineProperty(shown, name, {
      enumerable: false,
      get() {
        throw new UsageError(
          name === 'version'
            ? 'the version of an event is not known to a sync projection before an append that takes any version'
            : `a sync projection cannot read an event's ${name}: it is folded before the log gives it one; put what you need in the event's data, or use update: 'async'`,
        )
      },
    })
  }
  return shown
}
