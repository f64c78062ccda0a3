import type { Store, StoredModel } from '../read-model/store.ts'
import { type Folding, foldingOf } from './fold.ts'
import type { Projection } from './projection-definition.ts'
import { type ProjectionRuntime, type ProjectionVersion, storedModel } from './registry.ts'

/** A projection that this process defines, with the version in the database that belongs to it. */
export interface OwnProjection {
  readonly projection: Projection
  readonly folding: Folding
  readonly store: Store
  /** As last seen. */
  readonly version: ProjectionVersion
  readonly model: StoredModel
  /** Events that a person took out of folds. Shared, and grows. */
  readonly skipped: Set<string>
}

export function ownProjection(
  runtime: ProjectionRuntime,
  projection: Projection,
  version: ProjectionVersion,
  skipped: Set<string>,
): OwnProjection {
  return {
    projection,
    folding: foldingOf(projection.readModelName, projection['~projection']),
    store: projection['~projection'].store ?? runtime.store,
    version,
    model: storedModel(runtime.schema, version),
    skipped,
  }
}
