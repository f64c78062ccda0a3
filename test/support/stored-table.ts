import type { Database, SqlClient } from 'headwater'
import { quote } from '../../src/database/identifier.ts'
import { indexColumns, isOrdered, type StoredTable } from '../../src/read-model/stored-table.ts'
import { freshSchema } from './databases.ts'

interface Wanted {
  /** Column definitions by name, such as `text collate "C"`. */
  readonly columns: Readonly<Record<string, string>>
  readonly key: readonly string[]
  readonly indexes?: Readonly<Record<string, readonly string[]>>
  readonly view?: number
}

/** Makes a table as a version of a view has it, with its indexes, and the table of parked keys beside it. */
export async function storedTable(database: Database, { columns, key, indexes = {}, view = 7 }: Wanted): Promise<StoredTable> {
  const schema = freshSchema()
  await database.query(`create schema ${schema}`)
  await database.query(
    `create table ${schema}.parked (view integer not null, key text not null, reason text not null, primary key (view, key))`,
  )
  const definitions = Object.entries(columns).map(([name, definition]) => `${quote(name)} ${definition}`)
  await database.query(`create table ${schema}.stored (${definitions.join(', ')}, primary key (${key.map(quote).join(', ')}))`)
  const { rows } = await database.query<StoredTable['columns'][number]>(
    `select a.attname::text as name, format_type(a.atttypid, a.atttypmod) as type, a.attcollation <> 0 as collatable
     from pg_attribute a where a.attrelid = '${schema}.stored'::regclass and a.attnum > 0 order by a.attnum`,
  )
  const stored = { schema, table: 'stored', columns: rows, key, indexes, view }
  await createIndexes(database, stored)
  return stored
}

async function createIndexes(database: Database, stored: StoredTable): Promise<void> {
  const collatable = new Set(stored.columns.filter((column) => column.collatable).map(({ name }) => name))
  const lists = Object.keys(stored.indexes).map((index): [string, readonly string[]] => [index, indexColumns(stored, index)])
  if (stored.key.some((column) => collatable.has(column))) lists.push(['key_by_code_point', stored.key])
  for (const [name, list] of lists) {
    if (!isOrdered(stored, name)) {
      await database.query(`create index ${quote(name)} on ${stored.schema}.stored using gin (${quote(list[0] ?? '')})`)
      continue
    }
    const parts = list.map((column) => `${quote(column)}${collatable.has(column) ? ' collate "C"' : ''} nulls first`)
    await database.query(`create index ${quote(name)} on ${stored.schema}.stored (${parts.join(', ')})`)
  }
}

/** Adds rows. */
export async function fill(database: SqlClient, stored: StoredTable, rows: readonly Readonly<Record<string, unknown>>[]): Promise<void> {
  for (const row of rows) {
    const names = Object.keys(row)
    await database.query(
      `insert into ${stored.schema}.stored (${names.map(quote).join(', ')}) values (${names.map((_name, i) => `$${i + 1}`).join(', ')})`,
      Object.values(row),
    )
  }
}

/** Adds a parked key. */
export async function park(database: SqlClient, stored: StoredTable, key: string, reason: string, view = stored.view): Promise<void> {
  await database.query(`insert into ${stored.schema}.parked values ($1, $2, $3)`, [view, key, reason])
}
