import { randomUUID } from 'node:crypto'
import type { Transaction } from '../database/database.ts'
import { OutcomeUnknownError, UsageError } from '../errors.ts'
import { pauseBefore } from '../internal/retry.ts'
import type { AppendRequest, EventToAppend, StreamAppend } from '../log/log.ts'
import type { Emit, EventWriter } from '../message/command.ts'
import type { EventMetadata, NewEvent } from '../message/event.ts'
import type { CommandRuntime } from './command-runtime.ts'
import { streamIdFault } from './stream-id.ts'

interface Emitted {
  readonly writer: EventWriter
  readonly stream: string
  readonly event: NewEvent
  readonly metadata: EventMetadata
}

/** What the commands of one transaction emit, in order. */
export class Emission {
  readonly #emitted: Emitted[] = []

  /** `emit` for one run of a command; it takes no more once `end` was called. */
  begin(command: string, metadata: EventMetadata): { readonly emit: Emit; readonly end: () => void } {
    let ended = false
    const emit: Emit = (writer, stream, ...events) => {
      if (ended) throw new UsageError(`${command}: emit() was called after the command had ended; await what calls it`)
      const fault = streamIdFault(stream)
      if (fault) throw new UsageError(`${command}: emit(): the stream id ${fault}`)
      const added = (events as readonly NewEvent[]).map((event) => ({ writer: writer as unknown as EventWriter, stream, event, metadata }))
      this.#emitted.push(...added)
    }
    return {
      emit,
      end: () => {
        ended = true
      },
    }
  }

  /**
   * Has all of it appended, as a whole, when the transaction commits. Resolves to an id for {@link stagedPosition}; undefined when nothing was emitted.
   * @throws {InvalidEventError} an event that is not what its schema asks for
   * @throws {InvalidInputError} more than the log takes in one append: 500 events or 4 MiB
   * @throws {UsageError} this application has no log
   */
  async stage(runtime: CommandRuntime, command: string, transaction: Transaction): Promise<string | undefined> {
    if (this.#emitted.length === 0) return undefined
    if (!runtime.staging) throw new UsageError(`${command}: emit(): this application was put together without an event log`)
    return runtime.staging.stage(transaction, await this.#request())
  }

  async #request(): Promise<AppendRequest> {
    const streams = new Map<string, Omit<StreamAppend, 'events'> & { readonly events: EventToAppend[] }>()
    for (const { writer, stream, event, metadata } of this.#emitted) {
      const key = `${writer.aggregateName}-${stream}`
      const append = streams.get(key) ?? { aggregate: writer.aggregateName, stream, expected: 'any', events: [] }
      append.events.push({ ...(await writer['~write'](event)), id: randomUUID(), metadata })
      streams.set(key, append)
    }
    return { streams: [...streams.values()] }
  }
}

const takesMax = 6

/**
 * The position of what a committed command emitted.
 * @throws {OutcomeUnknownError} the database does not answer any more: what the command did stands, but no token can be made that surely covers it
 */
export async function stagedPosition(runtime: CommandRuntime, command: string, id: string): Promise<number | undefined> {
  for (let takes = 1; ; takes++) {
    try {
      const outcome = await runtime.staging?.take(id)
      // The head is at or past it.
      return outcome?.status === 'appended' ? outcome.position : await headPosition(runtime)
    } catch (error) {
      if (takes >= takesMax) throw new OutcomeUnknownError(command, { cause: error })
      await runtime.clock.sleep(pauseBefore(takes, { baseMs: 20, maxMs: 1000 }))
    }
  }
}

/** A position that is surely not before anything that was committed by now. */
export async function headPosition(runtime: CommandRuntime): Promise<number | undefined> {
  return runtime.eventLog && (await runtime.eventLog.head()).position
}
