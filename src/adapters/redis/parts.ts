import type { Batch, Parked, RowChange } from '../../index.ts'

/** While a script runs the server serves nobody else, so none takes more than this. */
export const itemsMax = 500
const bytesMax = 256 * 1024

/** What one script does of a batch. */
export interface Part {
  readonly rows: readonly RowChange[]
  readonly park: Batch['park']
  readonly unpark: readonly string[]
  /** Keys that must be parked when it writes. */
  readonly stillParked: readonly string[]
}

/** A batch as scripts do it. */
export interface Parts {
  /** Rows alone, in any order. */
  readonly rows: readonly Part[]
  /** Keys to park and to take back, in any order, but after all rows: whoever finds a key taken back must find its row. */
  readonly parking: readonly Part[]
  /** Moves the checkpoint. */
  readonly last: Part
  /** Keys that must be parked when the checkpoint moves, and are too many for the last part to look at. */
  readonly watched: readonly string[]
}

interface Parking {
  readonly key: string
  /** Why the key is set aside; `back`: it is taken back; `still`: it must be parked already. */
  readonly as: Parked | 'back' | 'still'
}

const nothing: Part = { rows: [], park: [], unpark: [], stillParked: [] }

/** The batch in parts of at most 500 rows and keys, and 256 KB (what is beyond that alone is a part of its own). What fits is a single one. */
export function partsOf(batch: Batch): Parts {
  const rows = chunksOf(batch.rows, bytesOfRow).map((chunk): Part => ({ ...nothing, rows: chunk }))
  const parking = parkingOf(batch)
  const chunks = chunksOf(parking, bytesOfParking)
  if (chunks.length > 1) {
    const changes = parking.filter(({ as }) => as !== 'still')
    return {
      rows,
      parking: chunksOf(changes, bytesOfParking).map((chunk) => partOf([], chunk)),
      last: nothing,
      watched: parking.filter(({ as }) => as !== 'back').map(({ key }) => key),
    }
  }
  const tail = rows.at(-1)?.rows ?? []
  const fits = tail.length + parking.length <= itemsMax && sum(tail, bytesOfRow) + sum(parking, bytesOfParking) <= bytesMax
  if (fits || parking.length === 0) return { rows: rows.slice(0, -1), parking: [], last: partOf(tail, parking), watched: [] }
  return { rows, parking: [], last: partOf([], parking), watched: [] }
}

/** Pieces of no more items and bytes than a script takes. */
export function chunksOf<T>(items: readonly T[], bytesOf: (item: T) => number): readonly (readonly T[])[] {
  const chunks: T[][] = []
  let bytes = 0
  for (const item of items) {
    const size = bytesOf(item)
    const chunk = chunks.at(-1)
    if (chunk && chunk.length < itemsMax && bytes + size <= bytesMax) {
      chunk.push(item)
      bytes += size
    } else {
      chunks.push([item])
      bytes = size
    }
  }
  return chunks
}

/** A key that is parked again must not be free in between: it is only parked. */
function parkingOf({ park, unpark, stillParked = [] }: Batch): readonly Parking[] {
  const again = new Set(park.map(({ key }) => key))
  return [
    ...unpark.filter((key) => !again.has(key)).map((key): Parking => ({ key, as: 'back' })),
    ...park.map(({ key, position, eventId, reason }): Parking => ({ key, as: { position, eventId, reason } })),
    ...stillParked.map((key): Parking => ({ key, as: 'still' })),
  ]
}

function partOf(rows: readonly RowChange[], parking: readonly Parking[]): Part {
  const keys = (kind: Parking['as']) => parking.filter(({ as }) => as === kind).map(({ key }) => key)
  const park = parking.flatMap(({ key, as }) => (typeof as === 'string' ? [] : [{ key, ...as }]))
  return { rows, park, unpark: keys('back'), stillParked: keys('still') }
}

function bytesOfRow({ key, row, index }: RowChange): number {
  return key.length + (row?.length ?? 0) + sum(index, (text) => text.length)
}

function bytesOfParking({ key, as }: Parking): number {
  return key.length + (typeof as === 'string' ? 0 : as.reason.length)
}

function sum<T>(items: readonly T[], of: (item: T) => number): number {
  return items.reduce((total, item) => total + of(item), 0)
}
