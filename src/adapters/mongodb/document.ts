import type { Document, Long } from 'mongodb'
import type { Parked, StoredModel, StoredRow } from '../../index.ts'

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
  readonly parked?: { readonly position: number | Long; readonly eventId: string | null; readonly reason: string }
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
