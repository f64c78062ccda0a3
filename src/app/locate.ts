import { NotReadyError } from '../errors.ts'
import type { ViewVersion } from '../materialized-view/registry.ts'
import type { ViewWorker } from '../materialized-view/worker.ts'
import type { Projection } from '../projection/projection.ts'
import { storedModel } from '../projection/registry.ts'
import type { ProjectionWorker } from '../projection/worker.ts'
import type { Located } from '../query/answer.ts'
import { databaseStore } from '../read-model/database-store.ts'
import { documentReader } from '../read-model/document-reader.ts'
import { type StoredTable, tableReader } from '../read-model/table-reader.ts'

/** Where read models are looked for. */
export interface Whereabouts {
  readonly schema: string
  readonly views: ViewWorker
  readonly projections: ProjectionWorker
  /** The projections that this process defines. */
  readonly defined: readonly Projection[]
}

/**
 * The version of a read model that answers now.
 * @throws {NotReadyError} `building` or `stopped` before there is one
 */
export function locate(whereabouts: Whereabouts, readModel: string): Located {
  const definition = whereabouts.defined.find(({ readModelName }) => readModelName === readModel)
  return definition ? locateProjection(whereabouts, definition) : locateView(whereabouts, readModel)
}

function locateProjection({ schema, projections }: Whereabouts, { readModelName: name, '~projection': { store } }: Projection): Located {
  const active = projections.versions.find((version) => version.name === name && version.active)
  if (!active) {
    const stopped = projections.versions.find((version) => version.name === name && version.state === 'stopped')
    if (stopped) throw new NotReadyError('stopped', name, `it stopped before its first build was finished: ${stopped.error ?? ''}`)
    throw new NotReadyError('building', name, 'its first build is under way')
  }
  const model = storedModel(schema, active)
  return {
    state: active.state === 'stopped' ? 'stopped' : 'live',
    lagMs: projections.lagMs(active.id),
    kept: { by: 'checkpoint', id: active.id },
    reader: (client, { check, atLeast }) =>
      active.store === null || store === undefined
        ? documentReader(databaseStore(client, schema, { home: true }), model, { check, schema })
        : documentReader(store, model, { check, atLeast }),
  }
}

function locateView({ schema, views }: Whereabouts, readModel: string): Located {
  const active = activeVersion(views, readModel)
  if (!active) {
    const stopped = views.versions.find(({ name, state }) => name === readModel && state === 'stopped')
    if (stopped) throw new NotReadyError('stopped', readModel, `it stopped before its first build was finished: ${stopped.error ?? ''}`)
    throw new NotReadyError('building', readModel, 'its first build is under way')
  }
  return {
    state: active.state === 'stopped' ? 'stopped' : 'live',
    lagMs: views.lagMs(active.id),
    kept: { by: 'marks', id: active.id },
    reader: (client, { check }) =>
      // Asked for each statement, so that a switch in the middle of a query is seen.
      tableReader(client, { name: readModel, stored: () => storedTable(schema, activeVersion(views, readModel) ?? active), check }),
  }
}

function activeVersion(worker: ViewWorker, readModel: string): ViewVersion | undefined {
  return worker.versions.find((version) => version.name === readModel && version.active)
}

const storedTables = new WeakMap<ViewVersion, StoredTable>()

function storedTable(schema: string, version: ViewVersion): StoredTable {
  const known = storedTables.get(version)
  if (known) return known
  const { columns, key, indexes } = version.shape
  const made = { schema, table: version.table, columns, key, indexes, view: version.id }
  storedTables.set(version, made)
  return made
}
