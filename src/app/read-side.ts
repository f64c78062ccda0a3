import type { Wake } from '../internal/wake.ts'
import type { ViewRuntime } from '../materialized-view/registry.ts'
import type { ViewWorker } from '../materialized-view/worker.ts'
import type { ReadSide } from '../query/answer.ts'
import { ReplicaSet } from '../query/replica-set.ts'
import type { EventSide } from './event-side.ts'
import { locate } from './locate.ts'

/** Everything that answering a query needs. */
export function readSide(
  { database, schema, clock, log, stores }: ViewRuntime,
  events: EventSide,
  of: {
    readonly views: ViewWorker
    readonly generation: () => string
    /** Whether there are projections. */
    readonly folds: boolean
    readonly progress: Wake
  },
): ReadSide {
  const { projections, projectionRuntime: runtime } = events
  return {
    database,
    replicas: ReplicaSet.of({ database, schema, generation: of.generation, clock, log }),
    schema,
    clock,
    generation: of.generation,
    locate: (readModel) => locate({ schema, views: of.views, projections, runtime, stores }, readModel),
    seen: () => [of.views.versions, projections.versions],
    refresh: async () => {
      await of.views.refresh()
      if (of.folds) await projections.refresh()
    },
    wake: () => {
      of.views.wake()
      events.wake()
    },
    progress: of.progress,
  }
}
