import { createHash } from 'node:crypto'
import { quote } from '../database/identifier.ts'
import type { StoredModel } from './store.ts'

/** The table of a version's rows: `<name>_v<version>` in the write database; elsewhere the application that owns it is told apart by a hash. */
export function rowTableName(model: StoredModel, home: boolean): string {
  const name = `${model.name}_v${model.version}`
  return home ? name : `${name}_${createHash('sha256').update(model.owner).digest('hex').slice(0, 8)}`
}

/** Makes the table of a version's rows. Its secondary indexes come when it is full. */
export function createRowTable(schema: string, table: string): string {
  return `create table if not exists ${quote(schema)}.${quote(table)} (
    key text collate "C" primary key, row jsonb not null, position bigint not null, version integer, texts text[] collate "C" not null default '{}'
  ) with (fillfactor = 80)`
}

/** Makes the declared indexes that are not there yet. */
export function createRowIndexes(schema: string, table: string, model: StoredModel): string {
  const indexes = model.indexes.map(
    (_index, i) => `create index if not exists ${quote(`${table}_${i + 1}`)} on ${quote(schema)}.${quote(table)} ((texts[${i + 1}]))`,
  )
  return [...indexes, `analyze ${quote(schema)}.${quote(table)}`].join(';\n')
}
