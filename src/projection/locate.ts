import { NotReadyError } from '../errors.ts'
import type { Store, StoredModel } from '../read-model/store.ts'
import { unknownStoreError } from '../read-model/unknown-store.ts'
import type { ProjectionVersion } from './registry.ts'
import type { ProjectionWorker } from './worker.ts'

/** The version of a projection that queries read now. */
export interface LocatedProjection {
  readonly version: ProjectionVersion
  readonly store: Store
  readonly model: StoredModel
  /** Whether its rows are in the write database, so that rows and checkpoint can be read in the query's own snapshot. */
  readonly home: boolean
  /** `stopped` also when it is paused: what is there serves whoever asks for no more. */
  readonly state: 'live' | 'stopped'
  readonly lagMs: number
  /** Up to where it was, as last seen. */
  readonly position: number
}

/** @throws {NotReadyError} `building`, `stopped` */
export function locateProjection(worker: ProjectionWorker, name: string): LocatedProjection {
  const own = worker.versions.filter((version) => version.name === name)
  const active = own.find((version) => version.active)
  if (!active) {
    const stopped = own.find(({ state }) => state === 'stopped')
    if (stopped) throw new NotReadyError('stopped', name, `it stopped before its first build was finished: ${stopped.error ?? ''}`)
    throw new NotReadyError('building', name, 'its first build is under way')
  }
  // Rows over events that the log does not have are nobody's answer.
  if (active.errorCode === 'log_mismatch')
    throw new NotReadyError('stopped', name, active.error ?? 'the log is not the one it was folded from')
  if (active.state === 'building' || active.builtAt === null) throw new NotReadyError('building', name, 'it is being folded anew')
  const place = worker.placeOf(active)
  if (!place)
    throw unknownStoreError(
      name,
      active.store,
      own.some(({ state, id }) => state === 'building' && id !== active.id),
    )
  return {
    version: active,
    ...place,
    home: active.store === null,
    state: active.state === 'stopped' || active.state === 'paused' ? 'stopped' : 'live',
    lagMs: worker.lagMs(active.id),
    position: worker.position(active.id),
  }
}
