import type { Document, Long } from 'mongodb'
import { IncompatibleStoreError, type Parked, type StoredModel, type StoredRow } from '../../index.ts'

/** A key of a read model. Where `row` is missing it was deleted (and remembered), or never was and is parked. */
export interface RowDocument extends Document {
  readonly _id: string
  readonly row?: unknown
  /** Of the last event in it; 0: only parked. */
  readonly position: number | Long
  readonly version: number | Long | null
  /** What orders the row in each index: `i0`, `i1`, ... */
  readonly texts?: Readonly<Record<string, string>>
  readonly deleted?: Date
  readonly parked?: {
    readonly position: number | Long
    readonly eventId: string | null
    readonly reason: string
    /** Up to where batches passed events of the key over: it is not taken back by one that ends before. */
    readonly passed?: number | Long
  }
}

/** Names hold neither `.` nor `$`, so the owner begins at the dot; what else an owner may be is encoded. */
export function collectionName({ owner, name, version }: StoredModel): string {
  return `${name}_v${version}.${encodeURIComponent(owner).replaceAll('.', '%2E')}`
}

export function textField(index: number): string {
  return `texts.i${index}`
}

export function storedRow({ _id, row, position, version, parked }: RowDocument): StoredRow {
  return {
    key: _id,
    row: row === undefined ? undefined : JSON.stringify(row),
    position: Number(position),
    version: version === null ? null : Number(version),
    parked: parked && parkedOf(parked),
  }
}

export function parkedOf({ position, eventId, reason }: NonNullable<RowDocument['parked']>): Parked {
  return { position: Number(position), eventId, reason }
}

/**
 * The documents that were found under keys of a read model.
 * @throws {IncompatibleStoreError} one of them is of something else
 */
export function ours(found: readonly RowDocument[], collection: string): readonly RowDocument[] {
  for (const document of found) {
    if (!isOurs(document)) throw foreign(`${collection} holds a document ${JSON.stringify(document._id)}`)
  }
  return found
}

function isOurs({ position, parked }: Partial<RowDocument>): boolean {
  return position !== undefined && Number(position) >= 0 && (parked === undefined || Number(parked?.position) >= 0)
}

/** What is in the way, and not ours to change. */
export function foreign(what: string): IncompatibleStoreError {
  return new IncompatibleStoreError('other_version', `${what} that is not of Headwater; move it away, or give another database`)
}
