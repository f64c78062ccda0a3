import type { Store } from '../read-model/store.ts'
import type { Projection } from './projection-definition.ts'
import type { ProjectionRuntime, ProjectionVersion } from './registry.ts'

/**
 * The store that holds a version's rows: never another one, though its projection be there now. A version that stays behind when its projection moves may
 * share a store with others. Undefined: no projection of this process names that store.
 */
export function storeOf(
  runtime: Pick<ProjectionRuntime, 'store'>,
  projections: readonly Projection[],
  { name, store }: Pick<ProjectionVersion, 'name' | 'store'>,
): Store | undefined {
  if (store === null) return runtime.store
  const isOwn = (projection: Projection) => projection.readModelName === name
  const ownFirst = [...projections.filter(isOwn), ...projections.filter((projection) => !isOwn(projection))]
  return ownFirst.map((projection) => projection['~projection'].store).find((found) => found?.description === store)
}
