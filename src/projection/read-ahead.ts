import type { EventLog } from '../log/log.ts'
import type { Event } from '../message/event.ts'

const chunkMax = 1000
const chunkBytes = 8 * 2 ** 20

/** Reads the log in large chunks, the next one while its reader is busy with the last; of large events fewer, so that two chunks fit into memory. */
export class ReadAhead {
  readonly #eventLog: EventLog
  #ahead: { readonly after: number; readonly events: Promise<readonly Event[]> } | undefined
  #eventBytes = 1000

  constructor(eventLog: EventLog) {
    this.#eventLog = eventLog
  }

  /** The events after a position; none: that is the head. */
  async read(after: number): Promise<readonly Event[]> {
    const limit = Math.max(50, Math.min(chunkMax, Math.floor(chunkBytes / this.#eventBytes)))
    const read = this.#ahead?.after === after ? this.#ahead.events : this.#eventLog.read({ after, limit })
    this.#ahead = undefined
    const events = await read
    const last = events.at(-1)
    if (last && events.length >= limit / 2) {
      this.#eventBytes = Math.max(100, averageBytes(events))
      const ahead = this.#eventLog.read({ after: last.position, limit })
      // Its failure is thrown to whoever asks for it, if anybody does.
      ahead.catch(() => undefined)
      this.#ahead = { after: last.position, events: ahead }
      // The reader is busy as soon as it has these: until the loop has turned once, the statement has not left the process.
      await new Promise((resolve) => setImmediate(resolve))
    }
    return events
  }

  /** What was read ahead is not wanted. */
  clear(): void {
    this.#ahead = undefined
  }
}

/** By a sample: to know it exactly would cost more than it saves. */
function averageBytes(events: readonly Event[]): number {
  const sample = events.filter((_event, i) => i % Math.ceil(events.length / 20) === 0)
  return sample.reduce((sum, { data }) => sum + JSON.stringify(data).length + 300, 0) / sample.length
}
