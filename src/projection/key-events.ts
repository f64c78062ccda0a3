import type { EventLog } from '../log/log.ts'
import type { Event } from '../message/event.ts'
import { type Folding, type Routed, route } from './fold.ts'

/** Above so many keys one reading of the log is quicker than a stream for each. */
const streamsMax = 200
const chunk = 2000

/**
 * The events of some keys in the order of the log: from their streams where those are the keys, else by reading the log for the types that are
 * handled. `keys` undefined: of all keys.
 */
export async function* keyEvents(
  eventLog: EventLog,
  folding: Folding,
  keys: ReadonlySet<string> | undefined,
  range: { readonly after: number; readonly upTo: number },
): AsyncGenerator<readonly Routed[]> {
  if (keys && !folding.key && keys.size <= streamsMax) yield await fromStreams(eventLog, folding, keys, range)
  else yield* fromLog(eventLog, folding, keys, range)
}

async function fromStreams(
  eventLog: EventLog,
  folding: Folding,
  keys: ReadonlySet<string>,
  { after, upTo }: { readonly after: number; readonly upTo: number },
): Promise<readonly Routed[]> {
  const slices = await Promise.all(
    [...folding.sources.keys()].flatMap((aggregate) => [...keys].map((key) => eventLog.readStream(aggregate, key))),
  )
  return slices
    .flatMap(({ events }) => events)
    .filter(({ position }) => position > after && position <= upTo)
    .sort((a, b) => a.position - b.position)
    .flatMap((event) => route(folding, event) ?? [])
}

async function* fromLog(
  eventLog: EventLog,
  folding: Folding,
  keys: ReadonlySet<string> | undefined,
  { after, upTo }: { readonly after: number; readonly upTo: number },
): AsyncGenerator<readonly Routed[]> {
  const types = handledTypes(folding)
  const read = (from: number): Promise<readonly Event[]> =>
    from >= upTo ? Promise.resolve([]) : eventLog.read({ after: from, limit: chunk, ...(types ? { types } : {}) })
  let ahead = read(after)
  for (;;) {
    const events = await ahead
    const last = events.at(-1)
    if (!last) return
    ahead = read(last.position)
    // Whoever stops reading early leaves this one behind.
    ahead.catch(() => undefined)
    const routed = events.filter(({ position }) => position <= upTo).flatMap((event) => route(folding, event) ?? [])
    yield keys ? routed.flatMap((one) => only(one, keys)) : routed
  }
}

function only(routed: Routed, keys: ReadonlySet<string>): readonly Routed[] {
  const found = routed.keys.filter((key) => keys.has(key))
  return found.length === 0 ? [] : [{ event: routed.event, keys: found, position: routed.position }]
}

/** The types to ask the log for. An upcast may rename a type, so that where an event is not known by its name all are read. */
function handledTypes(folding: Folding): readonly string[] | undefined {
  const known = [...folding.sources.values()].flatMap((source) => Object.keys(source.schemas))
  const handled = [...folding.handlers.keys()]
  return handled.length < known.length ? handled : undefined
}
