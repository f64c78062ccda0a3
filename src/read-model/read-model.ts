import type { Table } from '../database/identifier.ts'

/** A column of a row, by name. */
export type Column<Row> = keyof Row & string
type IsUnion<T, Whole = T> = T extends unknown ? ([Whole] extends [T] ? false : true) : never

/** One key column: its value. Several: an object of them. */
export type KeyOf<Row, Key extends Column<Row>> = IsUnion<Key> extends true ? { readonly [C in Key]: Row[C] } : Row[Key]

/** The indexes that `find` may use: each an ordered list of columns. The key's columns are appended to make the order total. */
export type Indexes<Row> = Readonly<Record<string, readonly Column<Row>[]>>
export type IndexedColumn<Index> = { [K in keyof Index]: Index[K] extends readonly (infer C extends string)[] ? C : never }[keyof Index]

/** What a column must be: equal to a value, or within a range. */
export type Condition<Value> = Value | { readonly gt?: Value; readonly gte?: Value; readonly lt?: Value; readonly lte?: Value }

/** What `find` looks for: conditions and an order that one declared index serves, and which page. */
export interface FindOptions<Row, Indexed extends Column<Row>> {
  readonly where?: { readonly [C in Indexed]?: Condition<Row[C]> }
  /** Columns in order, all ascending or all descending. Text is ordered by code point, nulls come first ascending. */
  readonly orderBy?: { readonly [C in Indexed]?: 'asc' | 'desc' }
  /** 1 to 1,000, default 100. */
  readonly limit?: number
  /** `next` of the page before. */
  readonly after?: string | null | undefined
}

/** Some of the rows that were found, in order. */
export interface Page<Row> {
  readonly items: readonly Row[]
  /** Give it as `after` to get the next page; null at the end. */
  readonly next: string | null
  /** Keys that are parked in this read model and might be missing or old in any page. Left out when there are none. */
  readonly parked?: number
}

/** What a query is handed for a read model it declared. Also stands for the read model's table in the `sql` template. */
export interface Reader<Row = unknown, Key = unknown, Indexed extends Column<Row> = Column<Row>> extends Table {
  get(key: Key): Promise<Row | undefined>
  /** The rows that exist, in the order of the keys. */
  getMany(keys: readonly Key[]): Promise<readonly Row[]>
  /** @throws {NoIndexError} when no declared index serves what is asked */
  find(options?: FindOptions<Row, Indexed>): Promise<Page<Row>>
}

/** Any stored answer: what `materializedView()` defines. `readModelName` is its name everywhere: tables, status, errors. */
export interface ReadModel<Name extends string = string, Row = unknown, Key = unknown, Indexed extends Column<Row> = never> {
  readonly readModelName: Name
  /** Only a type: what a query gets. */
  readonly '~reader': Reader<Row, Key, Indexed>
}

/** `sync`: brought up to date in the writer's own transaction. `async`: soon after it. */
export type Mode = 'sync' | 'async'

/**
 * `building`: its first version is being filled, queries answer 503 `building`. `live`. `rebuilding`: live, and a newer version is being
 * built beside it. `paused`: a person said so. `stopped`: an error needs a person. `orphaned`: in the database, but no definition names it.
 */
export type ReadModelState = 'building' | 'live' | 'rebuilding' | 'paused' | 'stopped' | 'orphaned'

/** How far the build of a version is, in keys; of a projection in events. */
export interface BuildProgress {
  readonly version: number
  readonly keysDone: number
  readonly keysTotal: number
  readonly startedAt: string
  readonly etaMs: number | undefined
  /** Events folded in a second, of a projection. */
  readonly perSecond?: number
}

/** Some of the 64 partitions of a read model's keys, both ends included, and the process that works on them. */
export interface RangeOwner {
  readonly first: number
  readonly last: number
  /** The process, as `id` in its own status; null: nobody, at the moment. */
  readonly owner: string | null
  /** Up to where in the log they are; in another store as last told by its owner. */
  readonly position: number
}

/** How a read model is. */
export interface ReadModelStatus {
  readonly name: string
  readonly mode: Mode
  readonly state: ReadModelState
  readonly version: number | undefined
  /** Milliseconds since the oldest change that is not in it. */
  readonly lagMs: number
  /** Marks that wait. */
  readonly pending: number
  readonly parked: number
  readonly rows: number
  readonly bytes: number
  /** The tables its SELECT reads, and their bytes with indexes. */
  readonly sources: readonly { readonly table: string; readonly rows: number; readonly bytes: number }[]
  readonly build: BuildProgress | undefined
  /** How long the last finished build took. */
  readonly builtInMs: number | undefined
  readonly error: string | undefined
  /** What would make it faster or safer: indexes to create, notes. */
  readonly advice: readonly string[]
  /** Who works on it, of a projection: each range of its keys, of the version that `version` names, or of the one that is built first. */
  readonly owners?: readonly RangeOwner[]
}
