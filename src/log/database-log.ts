import { DatabaseUnavailableError } from '../errors.ts'
import type { Event } from '../message/event.ts'
import { appendGroup, type Ended } from './append-group.ts'
import { AppendQueue } from './append-queue.ts'
import type { AppendOutcome, AppendRequest, EventLog, Head, StreamSlice } from './log.ts'
import type { LogRuntime } from './log-runtime.ts'
import { readEvents, readHead } from './read-events.ts'
import { type ReadyAppend, readyAppend } from './ready-append.ts'
import { StreamLoader } from './stream-loader.ts'

interface Waiting {
  readonly ready: ReadyAppend
  resolve(outcome: AppendOutcome): void
  reject(error: unknown): void
}

/** The log in Headwater's own schema of a PostgreSQL database. */
export function databaseLog(runtime: LogRuntime): EventLog {
  return new DatabaseLog(runtime)
}

class DatabaseLog implements EventLog {
  readonly #runtime: LogRuntime
  readonly #queue = new AppendQueue<Waiting>()
  readonly #loader: StreamLoader
  #appending = false

  constructor(runtime: LogRuntime) {
    this.#runtime = runtime
    this.#loader = new StreamLoader({
      database: runtime.database,
      schema: runtime.schema,
      connections: runtime.database.traits.connections,
    })
  }

  async append(request: AppendRequest): Promise<AppendOutcome> {
    const ready = readyAppend(request)
    return await new Promise<AppendOutcome>((resolve, reject) => {
      this.#queue.push({ ready, resolve, reject })
      if (!this.#appending) void this.#appendAll()
    })
  }

  async readStream(aggregate: string, stream: string, afterVersion = 0): Promise<StreamSlice> {
    return await this.#noticingLoss(this.#loader.load(aggregate, stream, afterVersion))
  }

  async read(options: Parameters<EventLog['read']>[0]): Promise<readonly Event[]> {
    return await this.#noticingLoss(readEvents(this.#runtime, options))
  }

  async head(): Promise<Head> {
    return await this.#noticingLoss(readHead(this.#runtime))
  }

  /** Whatever lost it may have ended in another server, or in the past of this one. */
  async #noticingLoss<T>(reading: Promise<T>): Promise<T> {
    try {
      return await reading
    } catch (error) {
      if (error instanceof DatabaseUnavailableError) this.#runtime.onLost()
      throw error
    }
  }

  /** One group at a time: what arrives while it is under way makes the next one, so groups grow with the load and nobody waits for a timer. */
  async #appendAll(): Promise<void> {
    this.#appending = true
    // What arrives in this turn of the event loop goes together.
    await undefined
    while (this.#queue.length > 0) {
      await this.#appendGroup(this.#queue.take())
    }
    this.#appending = false
  }

  async #appendGroup(group: readonly Waiting[]): Promise<void> {
    try {
      const ready = group.map((waiting) => waiting.ready)
      const ended = await appendGroup(this.#runtime, ready)
      for (const [i, waiting] of group.entries()) settle(waiting, ended[i])
    } catch (error) {
      for (const { reject } of group) reject(error)
    }
  }
}

function settle({ resolve, reject }: Waiting, ended: Ended | undefined): void {
  if (ended === undefined || ended instanceof Error) reject(ended)
  else resolve(ended)
}
