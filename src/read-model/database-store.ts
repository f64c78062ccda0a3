import type { SqlClient } from '../database/database.ts'
import { quote, type Table, tableOf } from '../database/identifier.ts'
import { type Sql, sqlOn } from '../database/sql.ts'
import { DatabaseError, UsageError } from '../errors.ts'
import { type StorePlace, type StoreStatements, storeStatements } from './database-store-sql.ts'
import { lockTables, OwnTables } from './own-tables.ts'
import { isRefusal, refusedAmong, rowValues, tooLongForIndex, withoutRefused } from './refused-rows.ts'
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
import { isDatabase, together } from './together.ts'

/** Which database it is. */
export interface DatabaseStoreOptions {
  /**
   * Whether this is the write database. There versions are rows of `projection` and their checkpoints are moved by appends too; elsewhere the
   * store keeps the same tables for itself and makes them when it is first used.
   */
  readonly home: boolean
  /** In the write database: a version that is not built counts as not there, as a query wants it that was told before that it is. Default false. */
  readonly built?: boolean
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

type Outcome = 'applied' | 'parked' | 'lost'

type HeadRow = readonly [position: number | null, eventId: string | null, parked: number | null]

const missing = new Set(['42P01', '3F000'])
const prepared = { prepare: true } as const
const arrays = { prepare: true, rowMode: 'array' } as const

/**
 * Read models in a PostgreSQL database: one table a version, a row with its JSON, its position and the texts by which the declared indexes order
 * it. A batch is one statement, in which nothing counts unless the checkpoint is what the batch started from; the first of a version, or one with rows
 * that the table refuses, is one transaction. Deleted rows are not remembered, since checkpoint and rows move together. Give it a transaction to read rows and checkpoint in that snapshot.
 */
export function databaseStore(client: SqlClient, schema: string, options: DatabaseStoreOptions): SqlStore {
  return new DatabaseStore(client, schema, options)
}

class DatabaseStore implements SqlStore {
  readonly description: string
  readonly native: SqlClient
  readonly #client: SqlClient
  readonly #schema: string
  readonly #place: StorePlace
  /** Undefined in the write database, where migrations make them. */
  readonly #tables: OwnTables | undefined

  constructor(client: SqlClient, schema: string, options: DatabaseStoreOptions) {
    this.#client = client
    this.native = client
    this.#schema = schema
    this.#place = { home: options.home, built: options.built ?? false }
    this.description = options.description ?? `schema ${schema}`
    if (!options.home) this.#tables = new OwnTables(client, schema, this.description)
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

  async apply(model: StoredModel, given: Batch): Promise<Outcome> {
    if (given.from && given.to.position < given.from.position) throw new UsageError(`${model.name}: a checkpoint never goes back`)
    await this.#tables?.ensure()
    const batch = withoutRefused(given, tooLongForIndex(model, given.rows))
    const outcome = await this.#tried(model, batch)
    return outcome === 'applied' && batch !== given ? 'parked' : outcome
  }

  async nativeOf(model: StoredModel): Promise<DatabaseNative> {
    const { table } = this.#statements(model)
    return { sql: sqlOn(this.#client), table: tableOf(() => `${quote(this.#schema)}.${quote(table)}`) }
  }

  async drop(model: StoredModel): Promise<void> {
    const { table, own, forget } = this.#statements(model)
    const s = quote(this.#schema)
    const dropTable = `drop table if exists ${s}.${quote(table)}`
    if (this.#place.home) {
      // Apart, since an append holds checkpoints before it comes to the table. One without its table counts as none.
      await this.#client.query(dropTable)
      await this.#client.query(forget, identity(model))
      return
    }
    await this.#tables?.ensure()
    await together(this.#client, async (client) => {
      await lockTables(client, this.#schema)
      await client.query(dropTable)
      await client.query(forget, identity(model))
      await client.query(`delete from ${s}.stored_model where id = ${own}`, identity(model))
    })
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

  /** Writes a batch; if a row of it is what keeps it from being written, the others, and that one's key is parked. */
  async #tried(model: StoredModel, batch: Batch): Promise<Outcome> {
    try {
      return await this.#attempted(model, batch)
    } catch (error) {
      if (!isRefusal(error) || !isDatabase(this.#client)) throw error
      return await this.#undoing((client) => this.#othersWritten(client, model, batch, error))
    }
  }

  async #attempted(model: StoredModel, batch: Batch): Promise<Outcome> {
    if (batch.from === null) {
      return await this.#undoing(async (client) => {
        if (!(await this.#begun(client, model, batch.partitions))) return 'lost'
        return await this.#moved(client, model, batch)
      })
    }
    if ((await this.#moved(this.#client, model, batch).catch(lostIfUndone)) === 'applied') return 'applied'
    // Where the ranges are leases too, only `divide` draws them anew.
    if (this.#place.home) return 'lost'
    // The partitions may have been divided otherwise than this owner divides them; to divide them again changes no partition's checkpoint.
    if (!(await this.#divide(model, batch.partitions))) return 'lost'
    return await this.#moved(this.#client, model, batch).catch(lostIfUndone)
  }

  /** In one transaction, of which nothing is left when the batch is lost after all. */
  async #undoing(work: (client: SqlClient) => Promise<Outcome>): Promise<Outcome> {
    try {
      return await together(this.#client, work)
    } catch (error) {
      if (isMissing(error)) this.#tables?.forget()
      return lostIfUndone(error)
    }
  }

  /** Holds the checkpoint while it finds out which rows are refused, so that they are judged as those that are written. */
  async #othersWritten(client: SqlClient, model: StoredModel, batch: Batch, error: DatabaseError): Promise<Outcome> {
    const { hold, judge, trial } = this.#statements(model)
    if (batch.from === null && !(await this.#begun(client, model, batch.partitions))) return 'lost'
    const { rowCount } = await client.query(hold, applyValues(model, batch).slice(0, 7))
    if (rowCount === 0) return 'lost'
    // A row that would make the batch lost is none of these: it stays in the batch, and does.
    const { rows } = await client.query<{ key: string }>(judge, rowValues(batch.rows))
    const written = new Set(rows.map(({ key }) => key))
    const refused = await refusedAmong(
      client,
      trial,
      batch.rows.filter(({ key }) => written.has(key)),
    )
    if (refused.length === 0) throw error
    await this.#moved(client, model, withoutRefused(batch, refused))
    return 'parked'
  }

  /** The first checkpoint of a range: made if there is none, which takes turns with whoever makes one for an overlapping range. */
  async #begun(client: SqlClient, model: StoredModel, { first, last }: Partitions): Promise<boolean> {
    if (this.#place.home) await this.#heal(client, model)
    else await this.#open(client, model)
    const { rows } = await client.query<{ begun: number }>(this.#statements(model).begin, [...identity(model), first, last], prepared)
    return rows[0]?.begun === 1
  }

  /** A version that is not there, or of which only a part came back from a copy, has an empty table and no checkpoint afterwards. */
  async #open(client: SqlClient, model: StoredModel): Promise<void> {
    const { table, opened, forget } = this.#statements(model)
    const s = quote(this.#schema)
    await lockTables(client, this.#schema)
    await client.query(
      `insert into ${s}.stored_model (owner, name, version) values ($1, $2, $3) on conflict do nothing`,
      identity(model),
      prepared,
    )
    const { rows } = await client.query<{ opened: boolean }>(opened, identity(model))
    if (rows[0]?.opened) return
    await client.query(forget, identity(model))
    await client.query(`drop table if exists ${s}.${quote(table)}`)
    await client.query(createRowTable(this.#schema, table))
  }

  /** The table of a version is made when that is registered; if it is gone, the version is built anew from the beginning. */
  async #heal(client: SqlClient, model: StoredModel): Promise<void> {
    const { table, opened, heal } = this.#statements(model)
    const { rows } = await client.query<{ opened: boolean }>(opened, identity(model))
    if (rows[0]?.opened) return
    await lockTables(client, this.#schema)
    const healed = await client.query<{ healed: number }>(heal, identity(model))
    if (healed.rows[0]?.healed === 1) await client.query(createRowTable(this.#schema, table))
  }

  /** @throws {Undone} it is lost */
  async #moved(client: SqlClient, model: StoredModel, batch: Batch): Promise<'applied'> {
    const { rows } = await client.query<{ moved: number }>(this.#statements(model).apply, applyValues(model, batch), prepared)
    if (rows[0]?.moved !== 1) throw new Undone()
    return 'applied'
  }

  /** Makes the range one of its own, as far as its partitions have the same checkpoint. False when it already was one. */
  async #divide(model: StoredModel, { first, last }: Partitions): Promise<boolean> {
    const { split, merge } = this.#statements(model)
    const isExact = (ranges: readonly Range[]) => ranges.some(({ partitions }) => partitions.first === first && partitions.last === last)
    const ranges = await this.#ranges(model)
    if (ranges.length === 0 || isExact(ranges)) return false
    await this.#client.query(split, [...identity(model), first], prepared)
    await this.#client.query(split, [...identity(model), last + 1], prepared)
    await this.#client.query(merge, [...identity(model), first, last], prepared)
    return isExact(await this.#ranges(model))
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
    await this.#tables?.check()
    try {
      return (await this.#client.query<readonly unknown[]>(text, values, arrays)).rows
    } catch (error) {
      if (!isMissing(error)) throw error
      this.#tables?.forget()
      return []
    }
  }

  #statements(model: StoredModel): StoreStatements {
    return statementsOf(this.#schema, this.#place, model)
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

function statementsOf(schema: string, place: StorePlace, model: StoredModel): StoreStatements {
  const id = JSON.stringify([schema, place.home, place.built, model.owner, model.name, model.version])
  const found = known.get(id) ?? storeStatements(schema, place, model)
  if (known.size > 1000) known.clear()
  known.set(id, found)
  return found
}

function identity(model: StoredModel): readonly [string, string, number] {
  return [model.owner, model.name, model.version]
}

/** The batch is lost: what its transaction did until then is to be undone. */
class Undone extends Error {}

/** Where the version is not there, nothing of a batch counts. */
function lostIfUndone(error: unknown): 'lost' {
  if (error instanceof Undone || isMissing(error)) return 'lost'
  throw error
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
    ...rowValues(rows),
    park.map(({ key }) => key),
    park.map(({ position }) => position),
    park.map(({ eventId }) => eventId),
    park.map(({ reason }) => reason),
    unpark.filter((key) => !parked.has(key)),
    stillParked ?? [],
  ]
}
