import { DatabaseUnavailableError } from '../errors.ts'
import type { Event, StateEvent } from '../message/event.ts'
import { appendGroup, type Ended } from './append-group.ts'
import { AppendQueue } from './append-queue.ts'
import { Lanes } from './lanes.ts'
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

/** So many requests are worth a group of their own. */
const many = 16

/** The log in Headwater's own schema of a PostgreSQL database. */
export function databaseLog(runtime: LogRuntime): EventLog {
  return new DatabaseLog(runtime)
}

class DatabaseLog implements EventLog {
  readonly #runtime: LogRuntime
  readonly #queue = new AppendQueue<Waiting>()
  readonly #loader: StreamLoader
  readonly #lanes: Pick<Lanes, 'allowed'>
  /** Lanes that are at work. */
  #running = 0
  /** Requests that were sent and not answered. */
  #underway = 0

  constructor(runtime: LogRuntime) {
    this.#runtime = runtime
    this.#lanes = runtime.lanes ?? new Lanes()
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
      this.#begin()
    })
  }

  async readStream(aggregate: string, stream: string, afterVersion = 0): Promise<StreamSlice> {
    return await this.#noticingLoss(this.#loader.load(aggregate, stream, afterVersion))
  }

  async readState(aggregate: string, stream: string, afterVersion = 0): Promise<StreamSlice<StateEvent>> {
    return await this.#noticingLoss(this.#loader.loadState(aggregate, stream, afterVersion))
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

  /**
   * What arrives while a group is under way makes the next one, so groups grow with the load and nobody waits for a timer. When many wait, half of
   * them may go at once in a second lane.
   */
  #begin(): void {
    if (this.#running > 0 && !(this.#running === 1 && this.#worthAnother())) return
    this.#running++
    void this.#run()
  }

  async #run(): Promise<void> {
    // What arrives in this turn of the event loop goes together.
    await undefined
    while (this.#underway === 0 || this.#worthAnother()) {
      const half = Math.max(many, Math.ceil((this.#queue.length + this.#underway) / 2))
      const group = this.#queue.take(this.#mayPass() ? half : undefined)
      if (group.length === 0) break
      this.#underway += group.length
      await this.#appendGroup(group)
      this.#underway -= group.length
      // Those that were answered just now may have more to append: they are let in, or two halves would go in turns for ever.
      if (this.#underway === 0 && this.#queue.length > 0 && !this.#mayPass()) await new Promise((resolve) => setImmediate(resolve))
    }
    this.#running--
  }

  #worthAnother(): boolean {
    return this.#queue.length >= many && this.#mayPass()
  }

  /** Whether a group may go before the one under way has been answered. Others need connections too. */
  #mayPass(): boolean {
    const { companion, database } = this.#runtime
    return database.traits.connections > 2 && companion?.oneByOne !== true && this.#lanes.allowed() > 1
  }

  async #appendGroup(group: readonly Waiting[]): Promise<void> {
    try {
      const ready = group.map((waiting) => waiting.ready)
      const ended = await appendGroup(this.#runtime, ready)
      for (const [i, waiting] of group.entries()) settle(waiting, ended[i])
    } catch (error) {
      for (const { reject } of group) reject(error)
    } finally {
      this.#queue.ended(group)
    }
  }
}

function settle({ resolve, reject }: Waiting, ended: Ended | undefined): void {
  if (ended === undefined || ended instanceof Error) reject(ended)
  else resolve(ended)
}
