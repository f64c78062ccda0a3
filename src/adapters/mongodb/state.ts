import { randomInt, randomUUID } from 'node:crypto'
import type { Collection, Db, Document, Long } from 'mongodb'
import { type Checkpoint, IncompatibleStoreError, type Partitions, partitionCount, type StoredModel } from '../../index.ts'
import { allWithin, coveredCount, type Run, withRun } from '../../internal/runs.ts'
import type { Turns } from '../../internal/turns.ts'
import { foreign, type RowDocument } from './document.ts'
import { inserted, type Marker } from './marker.ts'

const format = 1

/** One document per version of a read model: without it, or without the marker of its incarnation among the rows, the version is not there. */
interface StateDocument extends Document {
  readonly _id: string
  readonly format: number
  readonly owner: string
  readonly name: string
  readonly version: number
  /** Of the marker among the rows: told anew each time they begin, so that those of one that was dropped are not taken for the next. */
  readonly incarnation: string
  /** Counts the changes of this document: what a change began with. */
  readonly stamp: number | Long
  readonly checkpoints: readonly { first: number; last: number; position: number | Long; eventId: string | null }[]
  readonly parked: number
  /** Whether a batch set out to park keys, or to take some back, after `parked` was counted. */
  readonly uncounted?: boolean
}

export interface State {
  readonly incarnation: string
  readonly stamp: number
  readonly runs: readonly Run<Checkpoint>[]
  readonly parked: number
  readonly uncounted: boolean
}

/** What changes in a state. */
export type StateChange = Partial<Pick<State, 'runs' | 'parked' | 'uncounted'>>

export interface StateOptions {
  readonly long: (value: number) => Long
  readonly description: string
  /** Where the server cannot by itself change the document only if it is still as it was read: ranges that this process owns share it. */
  readonly turns: Turns | undefined
}

const tries = 20

/** The document that says how far a version is. */
export class VersionState {
  readonly #collection: Collection<StateDocument>
  readonly #rows: Collection<RowDocument>
  readonly #marker: Marker
  readonly #model: StoredModel
  readonly #options: StateOptions

  constructor(database: Db, model: StoredModel, rows: Collection<RowDocument>, marker: Marker, options: StateOptions) {
    this.#collection = database.collection<StateDocument>('headwater_state')
    this.#rows = rows
    this.#marker = marker
    this.#model = model
    this.#options = options
  }

  /**
   * What the document says, whether or not the rows are still there.
   * @throws {IncompatibleStoreError} another version of Headwater wrote it, or it is of another read model, or not ours at all
   */
  async read(): Promise<State | undefined> {
    const found = await this.#collection.findOne({ _id: idOf(this.#model) })
    if (!found) return undefined
    this.#judge(found)
    const runs = found.checkpoints.map(({ first, last, position, eventId }) => ({
      first,
      last,
      value: { position: Number(position), eventId },
    }))
    const { incarnation, stamp, parked, uncounted = false } = found
    return { incarnation, stamp: Number(stamp), runs, parked, uncounted }
  }

  /** The same, if the rows are there. Two looks at once: one that meets a version as it begins may not see it yet. */
  async standing(): Promise<State | undefined> {
    const [state, incarnation] = await Promise.all([this.read(), this.#marker.read()])
    return state?.incarnation === incarnation ? state : undefined
  }

  /**
   * The state of a version that may not have begun; undefined: others leave it no room. What is left of rows goes first, then comes their marker, then
   * the document with the incarnation of the marker: whoever finds the document, and then no such marker, knows that the rows are lost. Of those who begin
   * at the same time the first puts the marker, and any the document. One that comes late with what it saw of rows to be taken away may take the others'
   * rows, but only with their marker.
   * @throws {IncompatibleStoreError} the collection holds what is not ours
   */
  async begun(): Promise<State | undefined> {
    for (let time = 0; time < tries; time++) {
      // Rows are looked for before the document is: those of a version that began meanwhile are not taken for what was left.
      const isLeft = await this.#holdsRows()
      const found = await this.read()
      const marked = await this.#marker.read()
      if (found && found.incarnation === marked) return found
      if (found) await this.#collection.deleteOne({ _id: idOf(this.#model), incarnation: found.incarnation })
      if (isLeft) await this.#dropRows()
      const incarnation = (isLeft ? undefined : marked) ?? randomUUID()
      if (incarnation !== marked && !(await this.#marker.put(incarnation))) continue
      await inserted(this.#collection.insertOne(this.#fresh(incarnation)))
    }
    return undefined
  }

  /** Changes the document, if it is still as it was read; undefined: it is not. */
  async change(state: State, change: StateChange): Promise<State | undefined> {
    const { long, turns } = this.#options
    const { runs, ...fields } = change
    const checkpoints = runs?.map(({ first, last, value: { position, eventId } }) => ({ first, last, position: long(position), eventId }))
    const after = { ...state, ...change, stamp: state.stamp + 1 }
    const _id = idOf(this.#model)
    const set = { ...fields, ...(checkpoints && { checkpoints }), stamp: long(after.stamp) }
    const update = () => this.#collection.updateOne({ _id, incarnation: state.incarnation, stamp: long(state.stamp) }, { $set: set })
    const { matchedCount } = await (turns ? turns.run(_id, update) : update())
    return matchedCount === 1 ? after : undefined
  }

  /** The document first: rows without it are nobody's, and go when the version begins. */
  async drop(): Promise<void> {
    await this.#collection.deleteOne({ _id: idOf(this.#model) })
    await this.#dropRows()
  }

  /** All at once, with the marker: rows that are taken one by one would be missed by a reader who finds the marker. */
  async #dropRows(): Promise<void> {
    await this.#rows.drop().catch((error: unknown) => {
      if (!(error instanceof Error && Reflect.get(error, 'code') === namespaceNotFound)) throw error
    })
  }

  /** Whether the collection holds more than its marker: rows of another life of the version, if there is no document. */
  async #holdsRows(): Promise<boolean> {
    const others = { _id: { $ne: this.#marker.id as never } }
    if (!(await this.#rows.findOne(others, { projection: { _id: 1 } }))) return false
    const found = await this.#rows.findOne({ ...others, position: { $exists: false } }, { projection: { _id: 1 } })
    if (found) throw foreign(`${this.#options.description}: ${this.#rows.collectionName} holds a document ${JSON.stringify(found._id)}`)
    return true
  }

  #judge(found: StateDocument): void {
    const { owner, name, version } = this.#model
    const { description } = this.#options
    if (typeof found.format !== 'number') throw foreign(`${description}: headwater_state holds a document ${found._id}`)
    if (found.format !== format) {
      throw new IncompatibleStoreError(
        'newer_schema',
        `${description}: holds ${found._id} in format ${found.format}, which this version does not know; deploy the version that wrote it, or drop it`,
      )
    }
    if (found.owner !== owner || found.name !== name || found.version !== version) {
      throw new IncompatibleStoreError(
        'other_version',
        `${description}: ${found._id} holds ${found.name} version ${found.version} of ${JSON.stringify(found.owner)}; give another database`,
      )
    }
    if (typeof found.incarnation !== 'string' || !Array.isArray(found.checkpoints) || !(Number(found.stamp) >= 0)) {
      throw foreign(`${description}: headwater_state holds a document ${found._id}`)
    }
  }

  #fresh(incarnation: string): StateDocument {
    const { owner, name, version } = this.#model
    // By chance, so that who slept through a drop does not take what began under the same marker for what it knew.
    const stamp = this.#options.long(randomInt(2 ** 40))
    return { _id: idOf(this.#model), format, owner, name, version, incarnation, stamp, checkpoints: [], parked: 0 }
  }
}

/** The runs of a state after a batch. */
export function movedTo(state: State, partitions: Partitions, to: Checkpoint): readonly Run<Checkpoint>[] {
  return withRun(state.runs, { ...partitions, value: to }, sameCheckpoint)
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

const namespaceNotFound = 26

function sameCheckpoint(a: Checkpoint, b: Checkpoint): boolean {
  return a.position === b.position && a.eventId === b.eventId
}

function idOf({ owner, name, version }: StoredModel): string {
  return [owner, name, String(version)].map(encodeURIComponent).join(':')
}
