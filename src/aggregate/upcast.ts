import { HandlerError, UnknownEventError } from '../errors.ts'
import type { StateEvent } from '../message/event.ts'

/**
 * How old data becomes new data, a step for each version of a type's schema that is still in the log: the first makes version 2 of version 1. A step states
 * the shape it takes; the last one gives what the schema gives. Data is not checked again on its way.
 */
export type Upcasts<Data> = readonly [...steps: readonly ((data: never) => unknown)[], last: (data: never) => Data]
type Step = (data: never) => unknown

/** Reads stored events as this code knows them. */
export class Upcaster {
  readonly #aggregate: string
  readonly #steps: ReadonlyMap<string, readonly Step[]>

  /** `steps` has an entry for each type, empty where there is one version only. */
  constructor(aggregate: string, steps: ReadonlyMap<string, readonly Step[]>) {
    this.#aggregate = aggregate
    this.#steps = steps
  }

  /** The newest version of a type's schema: 1 and one more for each step. */
  newest(type: string): number {
    return 1 + (this.#steps.get(type)?.length ?? 0)
  }

  /**
   * The event with its data as the newest schema version has it.
   * @throws {UnknownEventError} a type or a newer version that this code does not know
   * @throws {HandlerError} a step that throws or gives a promise
   */
  read<E extends StateEvent>(event: E): E {
    const steps = this.#steps.get(event.type)
    if (!steps) throw this.#unknown(event, `${[...this.#steps.keys()].join(', ')}`)
    const newest = steps.length + 1
    if (event.schemaVersion === newest) return event
    if (event.schemaVersion > newest) throw this.#unknown(event, `${event.type} up to version ${newest}`)
    let { data } = event
    for (let version = event.schemaVersion; version < newest; version++) data = this.#step(event, version, steps[version - 1], data)
    return { ...event, data }
  }

  #step(event: StateEvent, version: number, step: Step | undefined, data: unknown): unknown {
    let upcast: unknown
    try {
      upcast = step?.(data as never)
    } catch (error) {
      throw this.#failed(event, version, error instanceof Error ? error.message : String(error), error)
    }
    if (upcast === undefined) throw this.#failed(event, version, 'it gave undefined', undefined)
    if (typeof upcast === 'object' && upcast !== null && 'then' in upcast)
      throw this.#failed(event, version, 'it gave a promise; a step is plain and synchronous', undefined)
    return upcast
  }

  #failed(event: StateEvent, version: number, what: string, cause: unknown): HandlerError {
    return new HandlerError(`${this.#aggregate}: upcasting ${event.type} of ${event.stream} from schema version ${version}: ${what}`, {
      cause,
    })
  }

  #unknown(event: StateEvent, known: string): UnknownEventError {
    const { type, schemaVersion, position } = event
    return new UnknownEventError({ type, schemaVersion, position, aggregate: this.#aggregate }, known)
  }
}
