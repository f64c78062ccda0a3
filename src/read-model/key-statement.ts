import { quote } from '../database/identifier.ts'
import { UsageError } from '../errors.ts'
import { parameter } from './find-statement.ts'
import { looseType, type StoredTable, tableSql, typeOf } from './stored-table.ts'

/** Types whose values are equal only when their texts are, whatever the session's settings. */
const canonical = new Set(['text', 'character varying', 'uuid', 'smallint', 'integer', 'bigint', 'boolean'])

/**
 * The values of a key, in the order of its columns.
 * @throws {UsageError} a key of several columns that is no object of them, or a value that is missing
 */
export function keyValues(stored: StoredTable, readModel: string, key: unknown): readonly unknown[] {
  const values = stored.key.length === 1 ? [key] : stored.key.map((column) => (isObject(key) ? key[column] : undefined))
  if (values.includes(undefined)) {
    const expected = stored.key.length === 1 ? `the value of ${stored.key[0]}` : `an object of ${stored.key.join(', ')}`
    throw new UsageError(`${readModel}: the key is not complete; it is ${expected}`)
  }
  return values.map((value, i) => parameter(typeOf(stored, stored.key[i] ?? ''), value))
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null
}

/** One row. A parameter for each column of the key. */
export function getStatement(stored: StoredTable): string {
  const conditions = stored.key.map((column, i) => `t.${quote(column)} = $${i + 1}::${keyType(stored, column)}`)
  return `select ${columnList(stored)} from ${tableSql(stored)} t where ${conditions.join(' and ')}`
}

/** The rows that exist, in the order of the keys. An array for each column of the key. */
export function getManyStatement(stored: StoredTable): string {
  return `select ${columnList(stored)} from ${keyList(stored)} join ${tableSql(stored)} t on ${sameKey(stored)} order by k.n`
}

/** For each key whether it is parked: its text and the reason, or nulls; and the row, or nulls. */
export function checkedStatement(stored: StoredTable): string {
  return `select p.key, p.reason, ${columnList(stored)} from ${keyList(stored)}
    left join ${tableSql(stored)} t on ${sameKey(stored)}
    left join ${parkedKeys(stored)} order by k.n`
}

function columnList(stored: StoredTable): string {
  return stored.columns.map(({ name }) => `t.${quote(name)}`).join(', ')
}

/** The keys asked for as rows. A join finds each by its index, also keys of several columns. */
function keyList(stored: StoredTable): string {
  const arrays = stored.key.map((column, i) => `$${i + 1}::${keyType(stored, column)}[]`)
  const names = stored.key.map((_column, i) => `k${i + 1}`)
  return `unnest(${arrays.join(', ')}) with ordinality k(${names.join(', ')}, n)`
}

function sameKey(stored: StoredTable): string {
  return stored.key.map((column, i) => `t.${quote(column)} = k.k${i + 1}`).join(' and ')
}

/**
 * Parked keys are kept as text. Where equal values can have different texts (1.0 and 1.00, one moment in two time zones) they are read
 * as values. The `offset 0` keeps the planner from reading another view's keys with the types of this one.
 */
function parkedKeys(stored: StoredTable): string {
  const parked = `${quote(stored.schema)}.parked`
  const view = Math.trunc(stored.view)
  if (stored.key.every((column) => canonical.has(keyType(stored, column)))) {
    const texts = stored.key.map((_column, i) => `k.k${i + 1}::text`)
    return `${parked} p on p.view = ${view} and p.key = ${texts.length === 1 ? texts[0] : `jsonb_build_array(${texts.join(', ')})::text`}`
  }
  const values = stored.key.map((column, i) => {
    const text = stored.key.length === 1 ? 's.key' : `(s.key::jsonb ->> ${i})`
    return `${text}::${keyType(stored, column)} as k${i + 1}`
  })
  const own = `select s.key, s.reason from ${parked} s where s.view = ${view} offset 0`
  const same = stored.key.map((_column, i) => `p.k${i + 1} = k.k${i + 1}`)
  return `(select s.key, s.reason, ${values.join(', ')} from (${own}) s) p on ${same.join(' and ')}`
}

function keyType(stored: StoredTable, column: string): string {
  return looseType(typeOf(stored, column))
}
