/**
 * How far a read model is: the position it holds everything up to, and the event that stands there, as a witness that the log is still the
 * same. Views, which have no positions, count their batches here.
 */
export interface Checkpoint {
  readonly position: number
  readonly eventId: string | null
}

/** One version of a read model, as a store must know it. */
export interface StoredModel {
  /** Of the application: keeps two applications that share a store apart. */
  readonly owner: string
  readonly name: string
  readonly version: number
  /** The declared indexes, in the order of the index texts of a row. */
  readonly indexes: readonly { readonly name: string; readonly fields: readonly string[] }[]
}

/** A range of the 64 virtual partitions, both ends included. A key's partition is {@link partitionOf}. */
export interface Partitions {
  readonly first: number
  readonly last: number
}

/** A row as the store has it. A deleted row may be remembered (`row` undefined, `position` above 0) to keep an old writer from bringing it back. */
export interface StoredRow {
  readonly key: string
  /** JSON text. */
  readonly row: string | undefined
  /** The position of the last event in it. 0: nothing is there. */
  readonly position: number
  /** The stream's version at that event, where the key is the stream. */
  readonly version: number | null
  readonly parked: Parked | undefined
}

/** A key set aside: the first event that failed, and why. Every later event of the key waits behind it. */
export interface Parked {
  readonly position: number
  readonly eventId: string | null
  readonly reason: string
}

/** A row as a batch writes it. */
export interface RowChange {
  readonly key: string
  /** The position of the row the change started from (0: none); undefined: any row with a lower position. */
  readonly was: number | undefined
  readonly position: number
  readonly version: number | null
  /** JSON text of an object; null deletes. */
  readonly row: string | null
  /** For each declared index the text that orders the row in it. */
  readonly index: readonly string[]
}

/** What one pass did: rows, parked keys and the checkpoint, written as one. */
export interface Batch {
  readonly partitions: Partitions
  /** What the checkpoint must be for the batch to count; null: there is none yet. */
  readonly from: Checkpoint | null
  readonly to: Checkpoint
  readonly rows: readonly RowChange[]
  readonly park: readonly (Parked & { readonly key: string })[]
  readonly unpark: readonly string[]
  /**
   * Keys that must still be parked for the batch to count: it passed events of theirs over. Without it, an owner that slept could move the checkpoint beyond
   * what another one took back meanwhile.
   */
  readonly stillParked?: readonly string[]
  /** When the rows it started from were read (milliseconds since 1970). A store that forgets deleted rows after days throws away what is too old. */
  readonly readAt?: number
}

/** A part of the rows in the order of an index (of the keys, where `index` is undefined), between texts. */
export interface RangeRequest {
  readonly index: number | undefined
  /** Included. */
  readonly from: string
  /** Not included. */
  readonly to: string
  readonly reverse: boolean
  readonly limit: number
}

/** A row as an index gives it. */
export interface RangeRow {
  readonly key: string
  readonly row: string
  readonly position: number
  /** Its text in the index that was asked. */
  readonly at: string
}

/** What a read saw of the whole: rows are at least as new as the checkpoint. */
export interface Seen<T> {
  /** The lowest of all partitions; null: this version is not in the store (never built, dropped, or lost). */
  readonly checkpoint: Checkpoint | null
  readonly rows: readonly T[]
  /** Keys parked in the whole read model. */
  readonly parked: number
}

/** What a version takes up. */
export interface StoreSize {
  readonly rows: number
  readonly bytes: number
}

/**
 * Where read models live. Four members every store has; the rest have a fallback. See `storeContract` in `headwater/testing` for what each
 * must keep. Texts are ordered byte by byte in UTF-8, that is by code point.
 */
export interface Store {
  /** The rows of some keys, each named once, those that are there or remembered; and the checkpoint, read no later than the rows. */
  load(model: StoredModel, keys: readonly string[]): Promise<Seen<StoredRow>>
  /** Rows in order; and the checkpoint, read no later than the rows. */
  range(model: StoredModel, request: RangeRequest): Promise<Seen<RangeRow>>
  /**
   * Writes a batch if the checkpoint of its partitions is still `from`; `lost` when it is not, and then nothing counts. `parked`: it counts, but some of
   * its rows are more than the store can hold, and their keys were parked instead (see {@link refusedRow}).
   */
  apply(model: StoredModel, batch: Batch): Promise<'applied' | 'parked' | 'lost'>
  /** Removes everything of a version. */
  drop(model: StoredModel): Promise<void>
  /** For a log line and errors: no password. */
  readonly description: string
  /** How many partitions' checkpoints differ inside the range, lowest first. Fallback: one range, read through `load`. */
  checkpoints?(model: StoredModel): Promise<readonly { readonly partitions: Partitions; readonly checkpoint: Checkpoint }[]>
  /** Makes what `range` needs before a version is switched to: indexes. Fallback: nothing. */
  index?(model: StoredModel): Promise<void>
  size?(model: StoredModel): Promise<StoreSize>
  /** Parked keys, with reasons. Fallback: a scan through `range` shows none. */
  parked?(model: StoredModel): Promise<readonly (Parked & { readonly key: string })[]>
  /** The store's own client, for what the read API does not offer. */
  readonly native?: unknown
  /** The same with the place of a version's rows in it: what a reader hands out as `native()`. */
  nativeOf?(model: StoredModel): Promise<unknown>
  /** Ends connections that the store opened. */
  close?(): Promise<void>
}

/**
 * What the store that a definition names adds to its reader: `native()`, the store's own client and where the rows are. Nothing where it is not known
 * by its type which store it is.
 */
export type WithNative<S> = [S] extends [{ nativeOf(model: StoredModel): Promise<infer Native> }]
  ? { readonly '~reader': { native(): Promise<Native> } }
  : unknown

/** How many virtual partitions every read model has. */
export const partitionCount = 64

/** The partition of a key: FNV-1a over its UTF-8 bytes, folded to 6 bits. The same in every process and for ever. */
export function partitionOf(key: string): number {
  let hash = 0x811c9dc5
  for (const byte of new TextEncoder().encode(key)) hash = Math.imul(hash ^ byte, 0x01000193)
  return ((hash >>> 16) ^ hash) & (partitionCount - 1)
}
