import { NotReadyError } from '../errors.ts'
import { logOn } from '../log/log-on.ts'
import type { ViewRuntime, ViewVersion } from '../materialized-view/registry.ts'
import { storedView } from '../materialized-view/stored-view.ts'
import { storedViewReader } from '../materialized-view/stored-view-reader.ts'
import type { ViewWorker } from '../materialized-view/worker.ts'
import { asOf } from '../projection/as-of.ts'
import { locateProjection } from '../projection/locate.ts'
import type { Moment } from '../projection/projection-definition.ts'
import type { ProjectionRuntime } from '../projection/registry.ts'
import type { ProjectionWorker } from '../projection/worker.ts'
import type { Located } from '../query/answer.ts'
import { databaseStore } from '../read-model/database-store.ts'
import { documentReader } from '../read-model/document-reader.ts'
import { type StoredTable, tableReader } from '../read-model/table-reader.ts'
import { unknownStoreError } from '../read-model/unknown-store.ts'

/** Where read models are looked for. */
export interface Whereabouts {
  readonly schema: string
  readonly views: ViewWorker
  /** The stores of the views that this process defines, by the view's name. */
  readonly stores: ViewRuntime['stores']
  readonly projections: ProjectionWorker
  readonly runtime: ProjectionRuntime
}

/**
 * The version of a read model that answers now.
 * @throws {NotReadyError} `building` or `stopped` before there is one
 */
export function locate(whereabouts: Whereabouts, readModel: string): Located {
  return whereabouts.projections.defines(readModel) ? locateFolded(whereabouts, readModel) : locateView(whereabouts, readModel)
}

function locateFolded({ schema, projections, runtime }: Whereabouts, name: string): Located {
  const { version, store, model, home, state, lagMs } = locateProjection(projections, name)
  return {
    state,
    lagMs,
    kept: { by: 'checkpoint', id: version.id, elsewhere: !home },
    reader: (client, { check, atLeast }) => {
      const reader = home
        ? documentReader(databaseStore(client, schema, { home: true, built: true }), model, { check, schema })
        : documentReader(store, model, { check, atLeast, floor: projections.floor(version.id) })
      return Object.assign(reader, {
        asOf: (moment: Moment) => {
          const own = projections.own.find((one) => one.version.name === name)
          if (!own) throw new NotReadyError('stopped', name, 'this process has older code than the live version, and cannot fold its past')
          return asOf({ ...runtime, eventLog: logOn(client, schema) }, own, moment)
        },
      })
    },
  }
}

function locateView({ schema, views, stores }: Whereabouts, readModel: string): Located {
  const active = activeVersion(views, readModel)
  if (!active) {
    const stopped = views.versions.find(({ name, state }) => name === readModel && state === 'stopped')
    if (stopped) throw new NotReadyError('stopped', readModel, `it stopped before its first build was finished: ${stopped.error ?? ''}`)
    throw new NotReadyError('building', readModel, 'its first build is under way')
  }
  return {
    state: active.state === 'stopped' ? 'stopped' : 'live',
    lagMs: views.lagMs(active.id),
    kept: { by: 'marks', id: active.id, elsewhere: false },
    reader: (client, { check }) => {
      const view = storedView({ schema, stores }, active)
      if (view) return storedViewReader(view, client, { schema, check })
      if (active.store !== null) throw unknownStoreError(readModel, active.store, isMoving(views, readModel))
      // Asked for each statement, so that a switch in the middle of a query is seen.
      return tableReader(client, { name: readModel, stored: () => storedTable(schema, activeVersion(views, readModel) ?? active), check })
    },
  }
}

function isMoving({ versions }: ViewWorker, readModel: string): boolean {
  return versions.some(({ name, state }) => name === readModel && (state === 'building' || state === 'installing'))
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
