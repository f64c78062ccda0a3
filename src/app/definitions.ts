import { DefinitionError } from '../errors.ts'
import type { MaterializedView } from '../materialized-view/materialized-view.ts'
import type { Command, EventModel } from '../message/command.ts'
import type { EventSource } from '../message/event.ts'
import type { Query } from '../message/query.ts'
import type { Projection } from '../projection/projection.ts'
import type { Reaction } from '../reaction/reaction.ts'
import type { Definitions } from './app.ts'

/** What an application is made of, by name. */
export interface Defined {
  readonly commands: ReadonlyMap<string, Command>
  readonly queries: ReadonlyMap<string, Query>
  readonly views: readonly MaterializedView[]
  readonly projections: readonly Projection[]
  readonly reactions: readonly Reaction[]
  /** The names of all read models. */
  readonly readModels: ReadonlySet<string>
}

/**
 * Sorts definitions out and refuses those that cannot live together: two of one name, one event type in two aggregates, a query that reads what is not
 * there.
 * @throws {DefinitionError}
 */
export function definedBy(options: {
  readonly commands?: Definitions | undefined
  readonly queries?: Definitions | undefined
  readonly readModels?: Definitions | undefined
  readonly reactions?: Definitions | undefined
}): Defined {
  const commands = byName<Command>('command', options.commands ?? {}, 'commandName')
  const queries = byName<Query>('query', options.queries ?? {}, 'queryName')
  const readModels = [...byName<MaterializedView | Projection>('read model', options.readModels ?? {}, 'readModelName').values()]
  const views = readModels.filter((model): model is MaterializedView => '~view' in model)
  const projections = readModels.filter((model): model is Projection => '~projection' in model)
  const reactions = [...byName<Reaction>('reaction', options.reactions ?? {}, 'reactionName').values()]
  const names = new Set(readModels.map(({ readModelName }) => readModelName))
  checkReads(queries.values(), names)
  checkEventTypes([
    ...[...commands.values()].flatMap((command): EventModel[] => (command['~kind'] === 'events' ? [command['~model']] : [])),
    ...projections.flatMap((projection) => projection['~projection'].from),
    ...reactions.flatMap((reaction) => [...reaction['~reaction'].sources.values()]),
  ])
  return { commands, queries, views, projections, reactions, readModels: names }
}

function checkReads(queries: Iterable<Query>, readModels: ReadonlySet<string>): void {
  for (const definition of queries) {
    for (const { readModelName } of Object.values(definition['~reads'])) {
      if (readModels.has(readModelName)) continue
      throw new DefinitionError(
        `query ${definition.queryName}: it reads ${readModelName}, which is not among the application's read models; add it to "readModels"`,
      )
    }
  }
}

/** Readers of the log ask for types by name, so a type belongs to one aggregate. */
function checkEventTypes(sources: readonly EventSource[]): void {
  const owners = new Map<string, EventSource>()
  const aggregates = new Map<string, EventSource>()
  for (const source of sources) {
    const other = aggregates.get(source.aggregateName)
    if (other && other !== source)
      throw new DefinitionError(`two aggregates bear the name ${source.aggregateName}: give each a name of its own, and define it once`)
    aggregates.set(source.aggregateName, source)
    for (const type of Object.keys(source.schemas)) {
      const owner = owners.get(type)
      if (owner && owner !== source) {
        throw new DefinitionError(
          `aggregates ${owner.aggregateName} and ${source.aggregateName} both have an event ${type}: a type's name is unique in an application`,
        )
      }
      owners.set(type, source)
    }
  }
}

/** Definitions by their own names. What is no definition of this kind is passed over, so that whole modules can be given. */
function byName<D>(kind: string, definitions: Definitions, property: string): ReadonlyMap<string, D> {
  const found = new Map<string, D>()
  for (const definition of Object.values(definitions)) {
    if ((typeof definition !== 'object' && typeof definition !== 'function') || definition === null || !(property in definition)) continue
    const name = String((definition as Record<string, unknown>)[property])
    const other = found.get(name)
    if (other !== undefined && other !== definition)
      throw new DefinitionError(`two definitions bear the name ${name}: give each ${kind} a name of its own`)
    found.set(name, definition as D)
  }
  return found
}
