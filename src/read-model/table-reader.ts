import type { SqlClient } from '../database/database.ts'
import { tableOf } from '../database/identifier.ts'
import { isHeadwaterError, ParkedError, UsageError } from '../errors.ts'
import { decodeCursor, encodeCursor, invalidCursor, type Position } from './cursor.ts'
import { type FindRequest, planFind } from './find.ts'
import { findShape, findStatement, findValues, parkedCount } from './find-statement.ts'
import { checkedStatement, getManyStatement, getStatement, keyValues } from './key-statement.ts'
import type { Page, Reader } from './read-model.ts'
import { type StoredTable, tableSql } from './stored-table.ts'

export type { StoredTable } from './stored-table.ts'

export interface TableReaderOptions {
  /** The read model's name, for errors. */
  readonly name: string
  /** The table of the live version, asked for each statement. Statements are kept with the object, so give the same one while it holds. */
  readonly stored: () => StoredTable
  /** `strict`: a parked key is an error, since no row that is surely new enough exists for it. */
  readonly check: 'none' | 'strict'
}

/**
 * The reader of a read model that is a table in PostgreSQL. Values travel as they are given, rows come as the database port delivers
 * them; see {@link Reader} for what it promises.
 */
export function tableReader<Row, Key>(client: SqlClient, options: TableReaderOptions): Reader<Row, Key> {
  const reader: Source = { client, ...options }
  return {
    ...tableOf(() => tableSql(options.stored())),
    get: async (key) => {
      const rows = options.check === 'strict' ? await getChecked(reader, [key]) : await getOne(reader, key)
      return rows[0] as Row | undefined
    },
    getMany: async (keys) => {
      if (!Array.isArray(keys)) throw new UsageError(`${options.name}.getMany takes an array of keys`)
      if (keys.length === 0) return []
      return (options.check === 'strict' ? await getChecked(reader, keys) : await getMany(reader, keys)) as readonly Row[]
    },
    find: async (request) => (await find(reader, (request ?? {}) as FindRequest)) as Page<Row>,
  }
}

interface Source extends TableReaderOptions {
  readonly client: SqlClient
}

const prepared = { prepare: true } as const
const arrays = { prepare: true, rowMode: 'array' } as const

async function getOne({ client, name, stored }: Source, key: unknown): Promise<readonly unknown[]> {
  const table = stored()
  const text = statementOf(table, 'get', () => getStatement(table))
  return (await client.query(text, keyValues(table, name, key), prepared)).rows
}

async function getMany({ client, name, stored }: Source, keys: readonly unknown[]): Promise<readonly unknown[]> {
  const table = stored()
  const text = statementOf(table, 'getMany', () => getManyStatement(table))
  return (await client.query(text, columnArrays(table, name, keys), prepared)).rows
}

async function getChecked({ client, name, stored }: Source, keys: readonly unknown[]): Promise<readonly unknown[]> {
  const table = stored()
  const text = statementOf(table, 'checked', () => checkedStatement(table))
  const { rows } = await client.query<readonly unknown[]>(text, columnArrays(table, name, keys), arrays)
  for (const [key, reason] of rows) if (key !== null) throw new ParkedError(name, String(key), String(reason))
  const first = 2 + table.columns.findIndex((column) => column.name === table.key[0])
  return rows.filter((values) => values[first] !== null).map((values) => rowOf(table, values, 2))
}

async function find({ client, name, stored }: Source, request: FindRequest): Promise<Page<unknown>> {
  const table = stored()
  const plan = planFind(table, request, name)
  const position = request.after === undefined || request.after === null ? undefined : decodeCursor(table, plan, request.after)
  const text = statementOf(table, findShape(plan, position), () => findStatement(table, plan, position))
  const rows = await query(client, text, findValues(table, plan, position), position)
  const [textAt, parkedAt] = [table.columns.length, table.columns.length + 1]
  const last = rows.length > plan.limit ? rows[plan.limit - 1] : undefined
  const parked = Number(rows[0] ? rows[0][parkedAt] : await countParked(client, table))
  return {
    items: rows.slice(0, plan.limit).map((values) => rowOf(table, values, 0)),
    next: last ? encodeCursor(table, plan, JSON.parse(String(last[textAt])) as Position) : null,
    ...(parked > 0 ? { parked } : {}),
  }
}

/** What the database refuses after a cursor was given is the cursor's: the page before passed with the same values. */
async function query(client: SqlClient, text: string, values: readonly unknown[], position: Position | undefined) {
  try {
    return (await client.query<readonly unknown[]>(text, values, arrays)).rows
  } catch (error) {
    if (position === undefined || !isDataError(error)) throw error
    throw invalidCursor('the cursor does not hold values of the columns that order this find', { cause: error })
  }
}

/** SQLSTATE class 22: a text that is no value of the type. */
function isDataError(error: unknown): boolean {
  return isHeadwaterError(error) && 'sqlState' in error && String(error.sqlState).startsWith('22')
}

/** An empty page has no row that could carry the count. */
async function countParked(client: SqlClient, table: StoredTable): Promise<unknown> {
  const text = statementOf(table, 'parked', () => `select ${parkedCount(table)}`)
  return (await client.query<readonly unknown[]>(text, [], arrays)).rows[0]?.[0]
}

/** An array for each column of the key. */
function columnArrays(table: StoredTable, name: string, keys: readonly unknown[]): readonly unknown[][] {
  const tuples = keys.map((key) => keyValues(table, name, key))
  return table.key.map((_column, i) => tuples.map((values) => values[i]))
}

function rowOf(table: StoredTable, values: readonly unknown[], from: number): Record<string, unknown> {
  const row: Record<string, unknown> = {}
  table.columns.forEach(({ name }, i) => {
    row[name] = values[from + i]
  })
  return row
}

const statements = new WeakMap<StoredTable, Map<string, string>>()

/** The text for a shape, built once for a table. A query's own code makes the shapes, so they are few. */
function statementOf(table: StoredTable, shape: string, build: () => string): string {
  const known = statements.get(table) ?? new Map<string, string>()
  if (known.size === 0) statements.set(table, known)
  const text = known.get(shape) ?? build()
  known.set(shape, text)
  return text
}
