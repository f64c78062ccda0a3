import type { Document, Long } from 'mongodb'
import { type Batch, HeadwaterError, type Parked, type RowChange } from '../../index.ts'
import type { Bulk, Operation } from './bulk.ts'
import type { RowDocument } from './document.ts'
import { holdableReason } from './holdable.ts'

type ParkedKey = Parked & { readonly key: string }

/** A change with what it writes. */
export interface RowWrite {
  readonly change: RowChange
  /** Undefined: it deletes. */
  readonly row: object | undefined
  readonly texts: Readonly<Record<string, string>>
}

/** A row that the server did not take, in its own words. */
export interface RefusedRow {
  readonly change: RowChange
  readonly reason: string
}

export interface WriterOptions {
  readonly bulk: Bulk
  readonly byKeys: (keys: readonly string[]) => Promise<readonly RowDocument[]>
  /**
   * FerretDB 1 keeps a connection of its own database for each `updateOne` until the whole command ends, and with more of them than it has
   * connections it waits for itself for ever; an `updateMany` gives it back. With a whole key for a filter both are the same.
   */
  readonly update: 'updateOne' | 'updateMany'
  readonly long: (value: number) => Long
  readonly now: () => Date
}

/** Where a key stands. */
interface Standing {
  readonly position: number
  readonly parked: { readonly position: number; readonly passed: number } | undefined
}

/** A write whose row's position is known: undefined where there is no document. */
interface Aimed {
  readonly write: RowWrite
  readonly was: number | undefined
}

const rounds = 5

/**
 * Writes what a batch says of its keys, each in its own document, if that is where the batch began. There is no transaction: what makes a repetition
 * harmless is that a row carries its position, and that the checkpoint moves last. For a key that is parked its document says up to where its events were
 * passed over, so that one owner does not take it back after another passed it over, nor pass it over after it was taken back.
 */
export class BatchWriter {
  readonly #batch: Batch
  readonly #options: WriterOptions
  readonly #parks: ReadonlySet<string>
  readonly #unparks: ReadonlySet<string>
  /** Keys that were taken back together with their rows. */
  readonly #taken = new Set<string>()
  readonly #reached: Long

  /** @param parks keys that the batch parks: they are not taken back */
  constructor(batch: Batch, parks: readonly string[], options: WriterOptions) {
    this.#batch = batch
    this.#options = options
    this.#parks = new Set(parks)
    this.#unparks = new Set(batch.unpark.filter((key) => !this.#parks.has(key)))
    this.#reached = options.long(batch.to.position)
  }

  /** Whether nothing is in the way of taking keys back, and every key that must still be parked is: it then says that events of it were passed over. */
  async passOver(): Promise<boolean> {
    const standings = await this.#look([...this.#unparks])
    if ([...standings.values()].some((standing) => this.#isBeyond(standing))) return false
    const filter = { 'parked.position': { $exists: true } }
    const update = { $max: { 'parked.passed': this.#reached } }
    const { missed } = await this.#options.bulk.send((this.#batch.stillParked ?? []).map((_id) => this.#update({ _id, ...filter }, update)))
    return !missed
  }

  /** Writes what is newer than what is there. `lost`: a row has moved on, though not as far as its change, or beyond the batch. */
  async write(writes: readonly RowWrite[]): Promise<'lost' | readonly RefusedRow[]> {
    const refused: RefusedRow[] = []
    let aimed = await this.#aim(writes)
    for (let round = 0; aimed.length > 0; round++) {
      const { missed, refusals } = await this.#options.bulk.send(aimed.map((each) => this.#operation(each)))
      for (const { index, reason } of refusals) {
        const change = aimed[index]?.write.change
        if (change) refused.push({ change, reason })
      }
      if (!missed) {
        for (const { write } of aimed) this.#taken.add(write.change.key)
        return refused
      }
      const left = aimed.filter(({ write }) => !refused.some(({ change }) => change === write.change))
      const now = await this.#look(left.map(({ write }) => write.change.key))
      const verdicts = left.map(({ write }) => this.#judge(write.change, now.get(write.change.key)))
      if (verdicts.includes('lost') || round >= rounds) return 'lost'
      aimed = left.flatMap(({ write }, i) => (verdicts[i] === 'write' ? [{ write, was: now.get(write.change.key)?.position }] : []))
    }
    return refused
  }

  /** Sets keys aside, unless a row is already newer than the event that failed. False: others leave it no room. */
  async park(parked: readonly ParkedKey[]): Promise<boolean> {
    let left = parked
    for (let round = 0; round < rounds; round++) {
      const now = await this.#look(left.map(({ key }) => key))
      left = left.filter(({ key, position }) => (now.get(key)?.position ?? 0) < position)
      const { missed, refusals } = await this.#options.bulk.send(left.map((each) => this.#parkOperation(each, now.get(each.key))))
      const [refused] = refusals
      if (refused) throw new HeadwaterError('store_error', `cannot park ${JSON.stringify(left[refused.index]?.key)}: ${refused.reason}`)
      if (!missed) return true
    }
    return false
  }

  /** Takes the batch's keys back. False: events of one were passed over, beyond what the batch holds. */
  async takeBack(refused: readonly string[]): Promise<boolean> {
    const keys = [...this.#unparks].filter((key) => !this.#taken.has(key) && !refused.includes(key))
    for (let round = 0; round < rounds; round++) {
      const parked = [...(await this.#look(keys))].filter(([, standing]) => standing.parked)
      if (parked.some(([, standing]) => this.#isBeyond(standing))) return false
      const { missed } = await this.#options.bulk.send(parked.map(([_id, { position }]) => this.#takeBackOperation(_id, position)))
      if (!missed) return true
    }
    return false
  }

  /** Parks no more the keys whose rows another batch wrote at the same time, with the event that failed here. */
  async unparkFolded(parked: readonly ParkedKey[]): Promise<void> {
    const undone = parked.map(({ key: _id, position }) => {
      const at = this.#options.long(position)
      return this.#update({ _id, position: { $gte: at }, 'parked.position': at }, { $unset: { parked: '' } })
    })
    await this.#options.bulk.send(undone)
  }

  /** Only of changes that do not say where they began the document is looked at first. */
  async #aim(writes: readonly RowWrite[]): Promise<readonly Aimed[]> {
    const known = await this.#look(writes.filter(({ change: { was } }) => was === undefined).map(({ change: { key } }) => key))
    return writes
      .filter(({ change: { key, was, position } }) => was !== undefined || (known.get(key)?.position ?? -1) < position)
      .map((write) => {
        const { key, was } = write.change
        // Nothing there: tried as an insert first; a parked key without a row is found out by the failure.
        return { write, was: was === undefined ? known.get(key)?.position : was || undefined }
      })
  }

  async #look(keys: readonly string[]): Promise<ReadonlyMap<string, Standing>> {
    const found = keys.length === 0 ? [] : await this.#options.byKeys(keys)
    return new Map(
      found.map(({ _id, position, parked }) => [
        _id,
        { position: Number(position), parked: parked && { position: Number(parked.position), passed: Number(parked.passed ?? 0) } },
      ]),
    )
  }

  #operation({ write: { change, row, texts }, was }: Aimed): Operation {
    const { long, now } = this.#options
    const { key: _id, position, version } = change
    const head = { position: long(position), version: version === null ? null : long(version) }
    const fields = row === undefined ? { ...head, deleted: now() } : { ...head, row, texts }
    if (was === undefined) return { insertOne: { document: { _id, ...fields } } }
    const gone = row === undefined ? { row: '', texts: '' } : { deleted: '' }
    const filter = { _id, position: long(was) }
    if (!this.#unparks.has(_id)) return this.#update(filter, { $set: fields, $unset: gone })
    return this.#update({ ...filter, ...this.#withinReach() }, { $set: fields, $unset: { ...gone, parked: '' } })
  }

  #withinReach(): Document {
    return { 'parked.position': { $not: { $gt: this.#reached } }, 'parked.passed': { $not: { $gt: this.#reached } } }
  }

  #parkOperation({ key: _id, position, eventId, reason }: ParkedKey, now: Standing | undefined): Operation {
    const { long } = this.#options
    const parked = { position: long(position), eventId, reason: holdableReason(reason) }
    if (!now) return { insertOne: { document: { _id, position: long(0), version: null, parked } } }
    // Field by field: how far its events were passed over stays.
    const set = { 'parked.position': parked.position, 'parked.eventId': eventId, 'parked.reason': parked.reason }
    return this.#update({ _id, position: long(now.position) }, { $set: set })
  }

  #takeBackOperation(_id: string, position: number): Operation {
    const filter = { _id, position: this.#options.long(position), ...this.#withinReach() }
    return position === 0 ? { deleteOne: { filter } } : this.#update(filter, { $unset: { parked: '' } })
  }

  #update(filter: Document, update: Document): Operation {
    const operation = { filter, update }
    return this.#options.update === 'updateOne' ? { updateOne: operation } : { updateMany: operation }
  }

  #isBeyond({ parked }: Standing): boolean {
    return parked !== undefined && Math.max(parked.position, parked.passed) > this.#batch.to.position
  }

  /** What becomes of a change that met something else than it began with (undefined: no document). */
  #judge(change: RowChange, now: Standing | undefined): 'write' | 'skip' | 'lost' {
    const { key, was, position, row } = change
    const stands = now?.position ?? 0
    if (now && this.#unparks.has(key) && this.#isBeyond(now)) return 'lost'
    if (was === undefined) return stands >= position ? 'skip' : 'write'
    if (stands === was) return 'write'
    // Whoever is beyond this batch has not folded from what it writes.
    if (stands > this.#batch.to.position) return 'lost'
    return stands >= position || (stands === 0 && row === null) ? 'skip' : 'lost'
  }
}
