import type { SqlClient } from '../database/database.ts'
import { quote } from '../database/identifier.ts'
import type { Event, StateEvent } from '../message/event.ts'
import type { StreamSlice } from './log.ts'
import { eventOf, streamlessColumns } from './stored-event.ts'
import { storedStream } from './stored-stream.ts'

/** How many streams one statement loads, of each how many events, and how many statements are under way. */
const streamsMax = 128
const eventsMax = 2000
const loadsMax = 2

interface Wanted {
  readonly aggregate: string
  readonly stream: string
  readonly after: number
  readonly whole: boolean
  resolve(slice: StreamSlice): void
  reject(error: unknown): void
}

/** A row of `load_streams`; without an event when the stream had none to give. */
type Loaded = readonly [entry: number, version: number, position: number | null, head: string, contents: unknown]

/** Of an event only what a state is made of. */
const stateColumns = `position, schema_version || '|' || type as head, data as contents`

/** Where the streams are. */
export interface StreamPlace {
  readonly database: SqlClient
  readonly schema: string
  /** How many statements can run side by side there. */
  readonly connections: number
}

/** Reads streams, many in one statement: what is asked for while others are loaded goes together with the next. */
export class StreamLoader {
  readonly #place: StreamPlace
  readonly #wanted: Wanted[] = []
  #loads = 0

  constructor(place: StreamPlace) {
    this.#place = place
  }

  /** The events of a stream after a version. A long stream is read in pieces; what is appended meanwhile may be among them. */
  load(aggregate: string, stream: string, after: number): Promise<StreamSlice> {
    return this.#load({ aggregate, stream, whole: true }, after)
  }

  /** The same, of each event only what a state is made of. */
  loadState(aggregate: string, stream: string, after: number): Promise<StreamSlice<StateEvent>> {
    return this.#load({ aggregate, stream, whole: false }, after)
  }

  async #load(place: Pick<Wanted, 'aggregate' | 'stream' | 'whole'>, after: number): Promise<StreamSlice> {
    const events: Event[] = []
    for (let from = after; ; ) {
      const slice = await new Promise<StreamSlice>((resolve, reject) => {
        this.#wanted.push({ ...place, after: from, resolve, reject })
        this.#begin()
      })
      if (slice.events.length < eventsMax) return { events: [...events, ...slice.events], version: slice.version }
      for (const event of slice.events) events.push(event)
      from = slice.version
    }
  }

  #begin(): void {
    if (this.#loads >= Math.min(loadsMax, this.#place.connections)) return
    this.#loads++
    void this.#work()
  }

  async #work(): Promise<void> {
    // What is asked for in this turn of the event loop goes together.
    await undefined
    while (this.#wanted.length > 0) {
      const batch = this.#take()
      try {
        const slices = await this.#loadAll(batch)
        for (const [i, { resolve }] of batch.entries()) resolve(slices[i] ?? { events: [], version: 0 })
      } catch (error) {
        for (const { reject } of batch) reject(error)
      }
    }
    this.#loads--
  }

  /** Those that came first and want the same of their events. */
  #take(): readonly Wanted[] {
    const [first] = this.#wanted
    const other = this.#wanted.findIndex(({ whole }) => whole !== first?.whole)
    return this.#wanted.splice(0, Math.min(streamsMax, other < 0 ? streamsMax : other))
  }

  async #loadAll(batch: readonly Wanted[]): Promise<readonly StreamSlice[]> {
    const { database, schema } = this.#place
    const isWhole = batch[0]?.whole ?? true
    const { rows } = await database.query<Loaded>(
      `select entry, version, ${isWhole ? streamlessColumns : stateColumns} from ${quote(schema)}.load_streams($1, $2, $3, $4)`,
      [batch.map(({ aggregate, stream }) => storedStream(aggregate, stream)), batch.map(({ after }) => after), eventsMax, isWhole],
      { rowMode: 'array', prepare: true },
    )
    const slices = batch.map((): { events: Event[]; version: number } => ({ events: [], version: 0 }))
    for (const [entry, version, position, head, contents] of rows) {
      const slice = slices[entry - 1]
      const wanted = batch[entry - 1]
      if (!slice || !wanted) continue
      const { aggregate, stream } = wanted
      slice.version = version
      if (position === null) continue
      if (isWhole) {
        slice.events.push({ ...eventOf([position, head, contents as string]), aggregate, stream })
      } else {
        const cut = head.indexOf('|')
        const event: StateEvent = {
          type: head.slice(cut + 1),
          aggregate,
          stream,
          version,
          position,
          schemaVersion: Number(head.slice(0, cut)),
          data: contents,
        }
        // Whoever asked for a state is given events without the rest.
        slice.events.push(event as Event)
      }
    }
    return slices
  }
}
