import { checkName } from '../database/identifier.ts'
import { DefinitionError } from '../errors.ts'
import type { Schema } from '../message/schema.ts'
import type { Column, IndexedColumn, Indexes, KeyOf, Mode, ReadModel } from '../read-model/read-model.ts'
import type { Store, WithNative } from '../read-model/store.ts'

/**
 * Which keys a changed row of a table touches: the column (or columns, in the key's order) of the changed row that holds the key; or SQL
 * that selects the keys, with columns of the changed row as `$1`, `$2`, ...; or `'*'`: any change touches every key.
 */
export type KeyMap = string | readonly string[] | { readonly sql: string; readonly params: readonly string[] }

export interface ViewDefinition {
  readonly row: Schema
  readonly key: readonly string[]
  readonly select: string
  readonly changedBy: Readonly<Record<string, KeyMap>>
  readonly indexes: Readonly<Record<string, readonly string[]>>
  readonly update: Mode
  readonly reads: readonly string[]
  /** Undefined: a table in the write database. */
  readonly store?: Store | undefined
}

/** A materialized view's definition, as {@link materializedView} makes it. */
export interface MaterializedView<Name extends string = string, Row = unknown, Key = unknown, Indexed extends Column<Row> = never>
  extends ReadModel<Name, Row, Key, Indexed> {
  readonly '~view': ViewDefinition
}

/**
 * Defines a read model that is selected from tables. Each row belongs to a key; when a table changes, `changedBy` tells which keys that
 * touches, and those rows are selected again. `update: 'sync'` does so in the writer's own transaction, whoever the writer is; `'async'`
 * (the default) soon after.
 *
 * Any SELECT will do whose rows depend on their key's mapped rows alone: joins, lateral, aggregates, CTEs, set operations, views. What is
 * not separable by key (an outer LIMIT, a window that is not partitioned by the key), reads the clock, chance or the session, or reads a
 * table that `changedBy` does not name is refused by `start()`, by name.
 *
 * `store` keeps its rows elsewhere: they are soon there after each change, and whatever happens to the store or the process, no change is lost. Its
 * rows, keys and order are the same in every store.
 *
 * `reads` names the tables behind functions that PostgreSQL cannot look into; it also says that you vouch for those functions.
 */
export function materializedView<
  const Name extends string,
  const Row,
  const Key extends Column<Row>,
  const Index extends Indexes<Row> = Record<never, never>,
  S extends Store | undefined = undefined,
>(
  name: Name,
  definition: {
    readonly row: Schema<Row>
    readonly key: Key | readonly Key[]
    readonly select: string
    readonly changedBy: Readonly<Record<string, KeyMap>>
    readonly indexes?: Index
    readonly update?: Mode
    readonly reads?: readonly string[]
    /** Where its rows live. Default: a table in the write database. */
    readonly store?: S | undefined
  },
): MaterializedView<Name, Row, KeyOf<Row, Key>, (IndexedColumn<Index> | Key) & Column<Row>> & WithNative<S> {
  checkName('materialized view', name)
  const key: readonly string[] = typeof definition.key === 'string' ? [definition.key] : definition.key
  if (key.length === 0)
    throw new DefinitionError(`materialized view ${name}: "key" names no column; name the column or columns that tell its rows apart`)
  if (definition.store && definition.update === 'sync') {
    throw new DefinitionError(
      `materialized view ${name}: it cannot be "sync" in another store: only the write database takes part in the writer's transaction`,
    )
  }
  const defined: MaterializedView<Name, Row, KeyOf<Row, Key>, (IndexedColumn<Index> | Key) & Column<Row>> = {
    readModelName: name,
    '~reader': undefined as never,
    '~view': {
      row: definition.row,
      key,
      select: definition.select,
      changedBy: definition.changedBy,
      indexes: definition.indexes ?? {},
      update: definition.update ?? 'async',
      reads: definition.reads ?? [],
      store: definition.store,
    },
  }
  return defined as typeof defined & WithNative<S>
}
