import type { SqlClient } from '../database/database.ts'
import { quote, type Table, tableOf } from '../database/identifier.ts'
import { lockClass } from '../database/migrate.ts'
import { type Sql, sqlOn } from '../database/sql.ts'
import { DatabaseError, UsageError } from '../errors.ts'
import { ownTables, type StoreStatements, storeStatements } from './database-store-sql.ts'
import { createRowIndexes, createRowTable } from './row-table.ts'
import type {
  Batch,
  Checkpoint,
  Parked,
  Partitions,
  RangeRequest,
  RangeRow,
  Seen,
  Store,
  StoredModel,
  StoredRow,
  StoreSize,
} from './store.ts'

/** Which database it is. */
export interface DatabaseStoreOptions {
  /**
   * Whether this is the write database. There versions are rows of `projection` and their checkpoints are moved by appends too; elsewhere the
   * store keeps the same tables for itself and makes them when it is first used.
   */
  readonly home: boolean
  /** For log lines: no password. */
  readonly description?: string
}

/** The rows of a read model as PostgreSQL has them, for what `find` does not offer: to be read only, and at whatever moment they are. */
export interface DatabaseNative {
  /** Runs in the database where they are. */
  readonly sql: Sql
  /** Stands for their table in {@link sql}: `key`, `row` (jsonb), `position`. */
  readonly table: Table
}

/** A {@link Store} in PostgreSQL. */
export interface SqlStore extends Store {
  nativeOf(model: StoredModel): Promise<DatabaseNative>
}

type HeadRow = readonly [position: number | null, eventId: string | null, parked: number | null]

const missing = new Set(['42P01', '3F000'])
const prepared = { prepare: true } as const
const arrays = { prepare: true, rowMode: 'array' } as const

/**
 * Read models in a PostgreSQL database: one table a version, a row with its JSON, its position and the texts by which the declared indexes order
 * it. A batch is one statement, in which nothing counts unless the checkpoint is what the batch started from. Deleted rows are not
 * remembered, since checkpoint and rows move together. Give it a transaction to read rows and checkpoint in that snapshot.
 */
export function databaseStore(client: SqlClient, schema: string, options: DatabaseStoreOptions): SqlStore {
  return new DatabaseStore(client, schema, options)
}

class DatabaseStore implements SqlStore {
  readonly description: string
  readonly native: SqlClient
  readonly #client: SqlClient
  readonly #schema: string
  readonly #home: boolean
  #tables: Promise<unknown> | undefined

  constructor(client: SqlClient, schema: string, options: DatabaseStoreOptions) {
    this.#client = client
    this.native = client
    this.#schema = schema
    this.#home = options.home
    this.description = options.description ?? `schema ${schema}`
  }

  async load(model: StoredModel, keys: readonly string[]): Promise<Seen<StoredRow>> {
    const { load } = this.#statements(model)
    const rows = await this.#read(load, [...identity(model), [...new Set(keys)]])
    return seen(rows, ([, , , key, row, position, version, parkedAt, eventId, reason]) => ({
      key: String(key),
      row: row === null ? undefined : String(row),
      position: Number(position ?? 0),
      version: version === null ? null : Number(version),
      parked: parkedAt === null ? undefined : parkedOf(parkedAt, eventId, reason),
    }))
  }

  async range(model: StoredModel, { index, from, to, reverse, limit }: RangeRequest): Promise<Seen<RangeRow>> {
    const text = index === undefined ? 't.key' : `t.texts[${Math.trunc(index) + 1}]`
    const sql = this.#statements(model).range(text, reverse)
    const rows = await this.#read(sql, [...identity(model), from, to, limit])
    return seen(rows, ([, , , key, row, position, at]) => ({
      key: String(key),
      row: String(row),
      position: Number(position),
      at: String(at),
    }))
  }

  async apply(model: StoredModel, batch: Batch): Promise<'applied' | 'lost'> {
    if (batch.from && batch.to.position < batch.from.position) throw new UsageError(`${model.name}: a checkpoint never goes back`)
    await this.#ensure()
    if (batch.from === null && !(await this.#begin(model, batch.partitions))) return 'lost'
    if (await this.#move(model, batch)) return 'applied'
    // Where the ranges are leases too, only `divide` draws them anew.
    if (this.#home) return 'lost'
    // The partitions may have been divided otherwise than this owner divides them; to divide them again changes no partition's checkpoint.
    if (!(await this.#divide(model, batch.partitions))) return 'lost'
    return (await this.#move(model, batch)) ? 'applied' : 'lost'
  }

  async nativeOf(model: StoredModel): Promise<DatabaseNative> {
    const { table } = this.#statements(model)
    return { sql: sqlOn(this.#client), table: tableOf(() => `${quote(this.#schema)}.${quote(table)}`) }
  }

  async drop(model: StoredModel): Promise<void> {
    await this.#ensure()
    const { table } = this.#statements(model)
    await this.#client.query(`drop table if exists ${quote(this.#schema)}.${quote(table)}`)
    const s = quote(this.#schema)
    const own = this.#home
      ? `(select id from ${s}.projection where name = $2 and version = $3::int and $1::text is not null)`
      : `(select id from ${s}.stored_model where owner = $1 and name = $2 and version = $3::int)`
    await this.#client.query(
      `with p as (delete from ${s}.parked_key where projection = ${own}) delete from ${s}.checkpoint where projection = ${own}`,
      [...identity(model)],
    )
    if (!this.#home) await this.#client.query(`delete from ${s}.stored_model where id = ${own}`, [...identity(model)])
  }

  async checkpoints(model: StoredModel): Promise<readonly Range[]> {
    return (await this.#ranges(model)).reduce<readonly Range[]>(joined, [])
  }

  async index(model: StoredModel): Promise<void> {
    await this.#client.query(createRowIndexes(this.#schema, this.#statements(model).table, model))
  }

  async size(model: StoredModel): Promise<StoreSize> {
    const table = `${quote(this.#schema)}.${quote(this.#statements(model).table)}`
    const rows = await this.#read(
      `select pg_total_relation_size(c.oid), c.reltuples::float8 from pg_catalog.pg_class c where c.oid = to_regclass($1)`,
      [table],
    )
    const [bytes = 0, estimate = 0] = (rows[0] ?? []).map(Number)
    if (rows.length === 0 || (bytes > 64 * 2 ** 20 && estimate > 0)) return { rows: Math.round(estimate), bytes }
    const counted = await this.#read(`select count(*) from ${table}`, [])
    return { rows: Number(counted[0]?.[0] ?? 0), bytes }
  }

  async parked(model: StoredModel): Promise<readonly (Parked & { readonly key: string })[]> {
    const rows = await this.#read(this.#statements(model).parked, identity(model))
    return rows.map(([key, position, eventId, reason]) => ({ key: String(key), ...parkedOf(position, eventId, reason) }))
  }

  /** The first checkpoint of a range: made if there is none, which takes turns with whoever makes one for an overlapping range. */
  async #begin(model: StoredModel, { first, last }: Partitions): Promise<boolean> {
    const s = quote(this.#schema)
    if (!this.#home) {
      // "if not exists" is no help where two do it at once.
      await this.#locked(createRowTable(this.#schema, this.#statements(model).table))
      await this.#client.query(
        `insert into ${s}.stored_model (owner, name, version) values ($1, $2, $3) on conflict do nothing`,
        identity(model),
        prepared,
      )
    }
    const { rows } = await this.#client.query<{ begun: number }>(this.#statements(model).begin, [...identity(model), first, last], prepared)
    return rows[0]?.begun === 1
  }

  async #move(model: StoredModel, batch: Batch): Promise<boolean> {
    try {
      const { rows } = await this.#client.query<{ moved: number }>(this.#statements(model).apply, applyValues(model, batch), prepared)
      return rows[0]?.moved === 1
    } catch (error) {
      if (isMissing(error)) return false
      throw error
    }
  }

  /** Makes the range one of its own, as far as its partitions have the same checkpoint. False when it already was one. */
  async #divide(model: StoredModel, { first, last }: Partitions): Promise<boolean> {
    const { split, merge } = this.#statements(model)
    const exact = async () => (await this.#ranges(model)).some(({ partitions }) => partitions.first === first && partitions.last === last)
    if (await exact()) return false
    await this.#client.query(split, [...identity(model), first], prepared)
    await this.#client.query(split, [...identity(model), last + 1], prepared)
    await this.#client.query(merge, [...identity(model), first, last], prepared)
    return await exact()
  }

  /** As they are divided. */
  async #ranges(model: StoredModel): Promise<readonly Range[]> {
    const rows = await this.#read(this.#statements(model).checkpoints, identity(model))
    return rows.map(([first, last, position, eventId]) => ({
      partitions: { first: Number(first), last: Number(last) },
      checkpoint: { position: Number(position), eventId: eventId === null ? null : String(eventId) },
    }))
  }

  /** Rows of a statement as arrays; none where the version or the whole schema is not there. */
  async #read(text: string, values: readonly unknown[]): Promise<readonly (readonly unknown[])[]> {
    try {
      return (await this.#client.query<readonly unknown[]>(text, values, arrays)).rows
    } catch (error) {
      if (isMissing(error)) return []
      throw error
    }
  }

  /** The store's own tables, made once; processes that begin together take turns. */
  async #ensure(): Promise<void> {
    if (this.#home) return
    this.#tables ??= this.#locked(ownTables(this.#schema))
    try {
      await this.#tables
    } catch (error) {
      this.#tables = undefined
      throw error
    }
  }

  async #locked(text: string): Promise<void> {
    await this.#client.query(`select pg_advisory_xact_lock(${lockClass(this.#schema) + 2}, 5); ${text}`)
  }

  #statements(model: StoredModel): StoreStatements {
    return statementsOf(this.#schema, this.#home, model)
  }
}

interface Range {
  readonly partitions: Partitions
  readonly checkpoint: Checkpoint
}

/** Neighbours with the same checkpoint are one range. */
function joined(ranges: readonly Range[], next: Range): readonly Range[] {
  const before = ranges.at(-1)
  const same =
    before?.checkpoint.position === next.checkpoint.position &&
    before.checkpoint.eventId === next.checkpoint.eventId &&
    before.partitions.last + 1 === next.partitions.first
  if (!before || !same) return [...ranges, next]
  return [
    ...ranges.slice(0, -1),
    { partitions: { first: before.partitions.first, last: next.partitions.last }, checkpoint: next.checkpoint },
  ]
}

/** Kept across stores: a query makes a store of its own for its transaction. */
const known = new Map<string, StoreStatements>()

function statementsOf(schema: string, home: boolean, model: StoredModel): StoreStatements {
  const id = JSON.stringify([schema, home, model.owner, model.name, model.version])
  const found = known.get(id) ?? storeStatements(schema, home, model)
  if (known.size > 1000) known.clear()
  known.set(id, found)
  return found
}

function identity(model: StoredModel): readonly [string, string, number] {
  return [model.owner, model.name, model.version]
}

function isMissing(error: unknown): boolean {
  return error instanceof DatabaseError && missing.has(error.sqlState)
}

function seen<T>(rows: readonly (readonly unknown[])[], toRow: (row: readonly unknown[]) => T): Seen<T> {
  const [position, eventId, parked] = (rows[0] ?? [null, null, 0]) as HeadRow
  return {
    checkpoint: position === null ? null : { position, eventId },
    rows: rows.filter((row) => row[3] !== null).map(toRow),
    parked: parked ?? 0,
  }
}

function parkedOf(position: unknown, eventId: unknown, reason: unknown): Parked {
  return { position: Number(position), eventId: eventId === null ? null : String(eventId), reason: String(reason) }
}

function applyValues(model: StoredModel, { partitions, from, to, rows, park, unpark, stillParked }: Batch): readonly unknown[] {
  const parked = new Set(park.map(({ key }) => key))
  return [
    ...identity(model),
    partitions.first,
    partitions.last,
    from?.position ?? 0,
    from?.eventId ?? null,
    to.position,
    to.eventId,
    rows.map(({ key }) => key),
    rows.map(({ row }) => row),
    rows.map(({ was }) => was ?? null),
    rows.map(({ position }) => position),
    rows.map(({ version }) => version),
    rows.map(({ index }) => arrayText(index)),
    park.map(({ key }) => key),
    park.map(({ position }) => position),
    park.map(({ eventId }) => eventId),
    park.map(({ reason }) => reason),
    unpark.filter((key) => !parked.has(key)),
    stillParked ?? [],
  ]
}

/** An array within an array's element: PostgreSQL has no arrays of arrays of different lengths. */
function arrayText(items: readonly string[]): string {
  return `{${items.map((item) => `"${item.replace(/["\\]/g, '\\$&')}"`).join(',')}}`
}
