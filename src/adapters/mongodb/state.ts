import { randomUUID } from 'node:crypto'
import type { Collection, Db, Document, Long } from 'mongodb'
import { type Checkpoint, IncompatibleStoreError, type Partitions, partitionCount, type StoredModel } from '../../index.ts'
import { allWithin, coveredCount, type Run, withRun } from '../../internal/runs.ts'

const format = 1

/** One document per version of a read model: without it the version is not there. */
interface StateDocument extends Document {
  readonly _id: string
  readonly format: number
  readonly owner: string
  readonly name: string
  readonly version: number
  /** Told anew each time a version begins, so that one that was dropped is not taken for the next. */
  readonly incarnation: string
  /** Counts the changes of this document: what a change began with. */
  readonly stamp: number | Long
  readonly checkpoints: readonly { first: number; last: number; position: number | Long; eventId: string | null }[]
  readonly parked: number
}

export interface State {
  readonly incarnation: string
  readonly stamp: number
  readonly runs: readonly Run<Checkpoint>[]
  readonly parked: number
}

/** The documents that say how far each version is. */
export class States {
  readonly #collection: Collection<StateDocument>
  readonly #long: (value: number) => Long
  readonly #description: string

  constructor(database: Db, long: (value: number) => Long, description: string) {
    this.#collection = database.collection<StateDocument>('headwater_state')
    this.#long = long
    this.#description = description
  }

  /** @throws {IncompatibleStoreError} another version of Headwater wrote it, or it speaks of another read model */
  async read(model: StoredModel): Promise<State | undefined> {
    const found = await this.#collection.findOne({ _id: idOf(model) })
    if (!found) return undefined
    if (found.format !== format) {
      throw new IncompatibleStoreError(
        'newer_schema',
        `${this.#description}: holds ${found._id} in format ${found.format}, which this version does not know; deploy the version that wrote it, or drop it`,
      )
    }
    if (found.owner !== model.owner || found.name !== model.name || found.version !== model.version) {
      throw new IncompatibleStoreError(
        'other_version',
        `${this.#description}: ${found._id} holds ${found.name} version ${found.version} of ${JSON.stringify(found.owner)}; give another database`,
      )
    }
    const runs = found.checkpoints.map(({ first, last, position, eventId }) => ({
      first,
      last,
      value: { position: Number(position), eventId },
    }))
    return { incarnation: found.incarnation, stamp: Number(found.stamp), runs, parked: found.parked }
  }

  /** The document of a version that may not have begun: made before its first row, so that whatever is lost afterwards shows. */
  async begun(model: StoredModel): Promise<State> {
    for (;;) {
      const found = await this.read(model)
      if (found) return found
      const { owner, name, version } = model
      const fresh = {
        _id: idOf(model),
        format,
        owner,
        name,
        version,
        incarnation: randomUUID(),
        stamp: this.#long(0),
        checkpoints: [],
        parked: 0,
      }
      await this.#collection.insertOne(fresh).catch(ignoreTaken)
    }
  }

  /** Moves the checkpoint of some partitions, if the document is still as it was read. False: it is not. */
  async advance(model: StoredModel, state: State, partitions: Partitions, to: Checkpoint, parked: number): Promise<boolean> {
    const runs = withRun(state.runs, { ...partitions, value: to }, sameCheckpoint)
    const checkpoints = runs.map(({ first, last, value }) => ({
      first,
      last,
      position: this.#long(value.position),
      eventId: value.eventId,
    }))
    const { matchedCount } = await this.#collection.updateOne(
      { _id: idOf(model), incarnation: state.incarnation, stamp: this.#long(state.stamp) },
      { $set: { checkpoints, parked, stamp: this.#long(state.stamp + 1) } },
    )
    return matchedCount === 1
  }

  async drop(model: StoredModel): Promise<void> {
    await this.#collection.deleteOne({ _id: idOf(model) })
  }
}

/** Whether each of the partitions stands at `from` (null: has none). */
export function standsAt(state: State | undefined, { first, last }: Partitions, from: Checkpoint | null): boolean {
  return allWithin(state?.runs ?? [], first, last, from ?? undefined, sameCheckpoint)
}

/** The lowest checkpoint, if every partition has one. */
export function lowestOf(runs: readonly Run<Checkpoint>[]): Checkpoint | null {
  if (coveredCount(runs) < partitionCount) return null
  return runs.map(({ value }) => value).reduce((lowest, value) => (value.position < lowest.position ? value : lowest))
}

function sameCheckpoint(a: Checkpoint, b: Checkpoint): boolean {
  return a.position === b.position && a.eventId === b.eventId
}

function idOf({ owner, name, version }: StoredModel): string {
  return [owner, name, String(version)].map(encodeURIComponent).join(':')
}

function ignoreTaken(error: unknown): void {
  if (!(error instanceof Error && Reflect.get(error, 'code') === 11000)) throw error
}
