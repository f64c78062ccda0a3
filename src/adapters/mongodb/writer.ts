import type { AnyBulkWriteOperation, Collection, Long, UpdateOneModel } from 'mongodb'
import type { Parked, RowChange } from '../../index.ts'
import type { ByKeys } from './by-keys.ts'
import type { RowDocument } from './document.ts'

type ParkedKey = Parked & { readonly key: string }

/** A row that the server did not take, in its own words. */
export interface RefusedRow {
  readonly change: RowChange
  readonly reason: string
}

export interface WriterOptions {
  readonly byKeys: ByKeys
  /**
   * FerretDB 1 keeps a connection of its own database for each `updateOne` until the whole command ends, and with more of them than it has
   * connections it waits for itself for ever; an `updateMany` gives it back. With a whole key for a filter both are the same.
   */
  readonly update: 'updateOne' | 'updateMany'
  readonly long: (value: number) => Long
  readonly now: () => Date
}

/** A change whose row's position is known: undefined where there is no document. */
interface Aimed {
  readonly change: RowChange
  readonly was: number | undefined
}

const rounds = 5

/**
 * Writes rows, each only if it is where the change began. There is no transaction: what makes a repetition harmless is that a row carries its
 * position, and that the checkpoint moves last.
 */
export class RowWriter {
  readonly #rows: Collection<RowDocument>
  readonly #byKeys: ByKeys
  readonly #update: (operation: UpdateOneModel<RowDocument>) => AnyBulkWriteOperation<RowDocument>
  readonly #long: (value: number) => Long
  readonly #now: () => Date

  constructor(rows: Collection<RowDocument>, { byKeys, update, long, now }: WriterOptions) {
    this.#rows = rows
    this.#update = (operation) => (update === 'updateOne' ? { updateOne: operation } : { updateMany: operation })
    this.#byKeys = byKeys
    this.#long = long
    this.#now = now
  }

  /** The positions of some keys, of those that have a document. */
  async positions(keys: readonly string[]): Promise<ReadonlyMap<string, number>> {
    const found = await this.#byKeys(this.#rows, keys, { projection: { position: 1 } })
    return new Map(found.map(({ _id, position }) => [_id, Number(position)]))
  }

  /** Writes what is newer than what is there. `lost`: a row has moved on, though not as far as its change. */
  async write(changes: readonly RowChange[]): Promise<'lost' | readonly RefusedRow[]> {
    const refused: RefusedRow[] = []
    const known = await this.positions(changes.filter(({ was }) => was === undefined).map(({ key }) => key))
    let aimed: readonly Aimed[] = changes
      .filter(({ key, was, position }) => was !== undefined || (known.get(key) ?? -1) < position)
      // Nothing there: tried as an insert first; a parked key without a row is found out by the failure.
      .map((change) => ({ change, was: change.was === undefined ? known.get(change.key) : change.was || undefined }))
    for (let round = 0; aimed.length > 0; round++) {
      const { missed, refusals } = await this.#attempt(aimed)
      refused.push(...refusals)
      if (!missed) return refused
      const left = aimed.filter(({ change }) => !refused.some((row) => row.change === change))
      const now = await this.positions(left.map(({ change }) => change.key))
      const verdicts = left.map(({ change }) => judge(change, now.get(change.key)))
      if (verdicts.includes('lost') || round >= rounds) return 'lost'
      aimed = left.flatMap(({ change }, i) => (verdicts[i] === 'write' ? [{ change, was: now.get(change.key) }] : []))
    }
    return refused
  }

  /** Takes keys back, then sets keys aside, unless a row is already newer than the event that failed. */
  async park(parked: readonly ParkedKey[], back: readonly string[], reached: number): Promise<void> {
    const taken = back.filter((key) => !parked.some((each) => each.key === key))
    const older = { 'parked.position': { $lte: this.#long(reached) } }
    const undone: AnyBulkWriteOperation<RowDocument>[] = taken.flatMap((_id) => [
      { deleteOne: { filter: { _id, position: this.#long(0), ...older } } },
      this.#update({ filter: { _id, ...older }, update: { $unset: { parked: '' } } }),
    ])
    await this.#send(undone)
    for (let round = 0, left = parked; left.length > 0 && round < rounds; round++) {
      const now = await this.positions(left.map(({ key }) => key))
      left = left.filter(({ key, position }) => (now.get(key) ?? 0) < position)
      const operations = left.map((each) => this.#parkOperation(each, now.get(each.key)))
      const { missed } = await this.#send(operations)
      if (!missed) return
    }
  }

  async #attempt(aimed: readonly Aimed[]): Promise<{ readonly missed: boolean; readonly refusals: readonly RefusedRow[] }> {
    const { missed, refusals } = await this.#send(aimed.map((each) => this.#operation(each)))
    return {
      missed,
      refusals: refusals.flatMap(({ index, reason }) => {
        const change = aimed[index]?.change
        return change ? [{ change, reason }] : []
      }),
    }
  }

  #operation({ change, was }: Aimed): AnyBulkWriteOperation<RowDocument> {
    const { key: _id, row, position, version, index } = change
    const head = { position: this.#long(position), version: version === null ? null : this.#long(version) }
    const texts = Object.fromEntries(index.map((text, i) => [`i${i}`, text]))
    const fields = row === null ? { ...head, deleted: this.#now() } : { ...head, row: JSON.parse(row), texts }
    if (was === undefined) return { insertOne: { document: { _id, ...fields } } }
    const gone = row === null ? { row: '', texts: '' } : { deleted: '' }
    return this.#update({ filter: { _id, position: this.#long(was) }, update: { $set: fields, $unset: gone } })
  }

  #parkOperation({ key: _id, position, eventId, reason }: ParkedKey, was: number | undefined): AnyBulkWriteOperation<RowDocument> {
    const parked = { position: this.#long(position), eventId, reason }
    if (was === undefined) return { insertOne: { document: { _id, position: this.#long(0), version: null, parked } } }
    return this.#update({ filter: { _id, position: this.#long(was) }, update: { $set: { parked } } })
  }

  /** Whether something was not as expected (no document matched, or one was there already), and what the server did not take at all. */
  async #send(operations: readonly AnyBulkWriteOperation<RowDocument>[]) {
    if (operations.length === 0) return { missed: false, refusals: [] }
    try {
      const { matchedCount, insertedCount } = await this.#rows.bulkWrite([...operations], { ordered: false })
      return { missed: matchedCount + insertedCount < operations.length, refusals: [] }
    } catch (error) {
      const errors = writeErrorsOf(error)
      if (errors.length > 0) return { missed: true, refusals: errors.filter(({ code }) => code !== duplicate) }
      if (!isRefusal(error)) throw error
      if (operations.length === 1) return { missed: true, refusals: [{ index: 0, reason: error.message }] }
    }
    return this.#sendOneByOne(operations)
  }

  /** FerretDB answers for all where one is refused, and does not go on after it. */
  async #sendOneByOne(operations: readonly AnyBulkWriteOperation<RowDocument>[]) {
    const refusals: { index: number; reason: string }[] = []
    let missed = false
    for (const [index, operation] of operations.entries()) {
      const done = await this.#sendOne(operation)
      missed ||= done.missed
      if (done.reason !== undefined) refusals.push({ index, reason: done.reason })
    }
    return { missed, refusals }
  }

  async #sendOne(operation: AnyBulkWriteOperation<RowDocument>): Promise<{ readonly missed: boolean; readonly reason?: string }> {
    try {
      const { matchedCount, insertedCount } = await this.#rows.bulkWrite([operation], { ordered: false })
      return { missed: matchedCount + insertedCount < 1 }
    } catch (error) {
      const [first] = writeErrorsOf(error)
      if (first) return first.code === duplicate ? { missed: true } : { missed: true, reason: first.reason }
      if (isRefusal(error)) return { missed: true, reason: error.message }
      throw error
    }
  }
}

const duplicate = 11000

/** What becomes of a change to a row that stands at `position` (undefined: there is no document). */
function judge(change: RowChange, position: number | undefined): 'write' | 'skip' | 'lost' {
  const stands = position ?? 0
  if (stands >= change.position) return 'skip'
  if (change.was === undefined || stands === change.was) return 'write'
  return stands === 0 && change.row === null ? 'skip' : 'lost'
}

function writeErrorsOf(error: unknown): readonly { readonly index: number; readonly code: number; readonly reason: string }[] {
  if (!(error instanceof Error) || error.name !== 'MongoBulkWriteError') return []
  const found: unknown = Reflect.get(error, 'writeErrors')
  return [found].flat().flatMap((each: unknown) => {
    if (typeof each !== 'object' || each === null) return []
    return [
      { index: Number(Reflect.get(each, 'index')), code: Number(Reflect.get(each, 'code')), reason: String(Reflect.get(each, 'errmsg')) },
    ]
  })
}

/** Codes of a document that cannot be: bad value, failed to parse, dotted or dollar-prefixed names, too large, nested too deeply. */
const refusing = new Set([2, 9, 52, 55, 56, 57, 121, 15, 10334, 17280, 17419, 17420])

function isRefusal(error: unknown): error is Error {
  return error instanceof Error && /^Mongo(Server|BulkWrite)Error$/.test(error.name) && refusing.has(Number(Reflect.get(error, 'code')))
}
