import { checkName } from '../database/identifier.ts'
import { DefinitionError } from '../errors.ts'
import type { Immutable } from '../internal/immutable.ts'
import type { EventSource } from '../message/event.ts'
import { memberNames, type Schema } from '../message/schema.ts'
import type { KeyValue } from '../read-model/key-text.ts'
import type { Column, IndexedColumn, Indexes, Mode } from '../read-model/read-model.ts'
import type { Store, WithNative } from '../read-model/store.ts'
import { foldAll } from './fold-all.ts'
import type { EventIn, EventMap, Projection, ProjectionDefinition } from './projection-definition.ts'

export type { EventIn, EventMap, Handler, Projection, ProjectionDefinition } from './projection-definition.ts'

/**
 * Defines a read model that is folded from events. Each event belongs to a key, by default its stream; the handler of its type gets the key's row
 * (undefined: there is none yet) and gives the new one, `null` to delete it or `undefined` to leave it. Handlers are pure and synchronous, and rows
 * are plain JSON. One that throws parks its key, and only that.
 *
 * `key` may give a text, an object (a composite key), an array of those (several keys, each with its own row; `[]`: none). `update: 'sync'` folds in
 * the append's own transaction, where position and time do not exist yet: such handlers cannot read them. Raise `version` when handlers change: the
 * new version is built beside the old one and replaces it when it is complete.
 *
 * @example
 * export const balances = projection('balances', {
 *   from: [account],
 *   row: z.object({ owner: z.string(), balance: z.int() }),
 *   on: {
 *     AccountOpened: (_none, { data }) => ({ owner: data.owner, balance: 0 }),
 *     MoneyDeposited: (row, { data }) => row && { ...row, balance: row.balance + data.amount },
 *     AccountClosed: () => null,
 *   },
 *   indexes: { byOwner: ['owner'] },
 * })
 */
export function projection<
  const Name extends string,
  From extends EventSource,
  const Row,
  Key extends KeyValue = string,
  const Index extends Indexes<Row> = Record<never, never>,
  S extends Store | undefined = undefined,
>(
  name: Name,
  definition: {
    readonly from: readonly From[]
    readonly row: Schema<Row>
    /** The key, several, or none (`[]`) of an event. Default: its stream. */
    readonly key?: (event: EventIn<From>) => Key | readonly Key[]
    readonly on: {
      readonly [T in keyof EventMap<From>]?: (
        row: Immutable<NoInfer<Row>> | undefined,
        event: EventMap<From>[T],
        key: NoInfer<Key>,
      ) => Immutable<NoInfer<Row>> | null | undefined
    }
    /** What `find` may look for and order by: each an ordered list of members of the row. */
    readonly indexes?: Index
    readonly update?: Mode
    /** Where its rows live. Default: the write database. */
    readonly store?: S
    /** A whole number that goes up when the handlers, the key or the row change. Default 1. */
    readonly version?: number
  },
): Projection<Name, Row, Key, IndexedColumn<Index> & Column<Row>> & WithNative<S> {
  const made: ProjectionDefinition = {
    from: definition.from,
    row: definition.row,
    key: definition.key as ProjectionDefinition['key'],
    on: definition.on as ProjectionDefinition['on'],
    indexes: definition.indexes ?? {},
    update: definition.update ?? 'async',
    store: definition.store,
    version: definition.version ?? 1,
  }
  checkName('projection', name)
  const fault = faultOf(made)
  if (fault) throw new DefinitionError(`projection ${name}: ${fault}`)
  const defined: Projection<Name, Row, Key, IndexedColumn<Index> & Column<Row>> = {
    readModelName: name,
    '~reader': undefined as never,
    '~projection': made,
    '~fold': (events) => foldAll(name, made, events),
  }
  return defined as typeof defined & WithNative<S>
}

function faultOf(definition: ProjectionDefinition): string | undefined {
  const { from, on, update, store, version } = definition
  if (!Array.isArray(from) || from.length === 0) return '"from" names no aggregate'
  if (!(Number.isInteger(version) && version >= 1)) return '"version" is a whole number from 1'
  if (update !== 'sync' && update !== 'async') return '"update" is "sync" or "async"'
  if (update === 'sync' && store) return 'it cannot be "sync" in another store: only the write database takes part in the append'
  const types = from.flatMap((source) => Object.keys(source.schemas))
  const twice = types.find((type, i) => types.indexOf(type) !== i)
  if (twice !== undefined) return `two of its aggregates have an event ${twice}`
  const handled = Object.keys(on)
  if (handled.length === 0) return '"on" handles no event'
  const unknown = handled.find((type) => !types.includes(type))
  if (unknown !== undefined) return `it handles ${unknown}, which none of its aggregates has; there is: ${types.join(', ')}`
  const noFunction = handled.find((type) => typeof on[type] !== 'function')
  if (noFunction !== undefined) return `the handler of ${noFunction} is no function`
  return indexFault(definition)
}

function indexFault({ indexes, row }: ProjectionDefinition): string | undefined {
  const members = memberNames(row)
  for (const [name, fields] of Object.entries(indexes)) {
    if (fields.length === 0) return `index ${JSON.stringify(name)} names no member`
    if (new Set(fields).size < fields.length) return `index ${JSON.stringify(name)} names a member twice`
    const unknown = members && fields.find((field) => !members.includes(field))
    if (unknown !== undefined) return `index ${JSON.stringify(name)} names ${unknown}, which the row does not have`
  }
  return undefined
}
