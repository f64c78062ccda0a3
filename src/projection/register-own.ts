import { DatabaseError } from '../errors.ts'
import { retry } from '../internal/retry.ts'
import type { Projection } from './projection-definition.ts'
import { dropProjection, type ProjectionRuntime, registerProjection, retireProjection } from './registry.ts'
import { storeOf } from './store-of.ts'

/**
 * Registers a projection of this process, and drops versions that never came to serve, as far as a projection of this process names the store they are in;
 * `projections` are all of them. Resolves to its version's id; undefined when a newer version is
 * live, so that there is nothing to fold here.
 * @throws {DefinitionError}
 */
export async function registerOwn(
  runtime: ProjectionRuntime,
  projection: Projection,
  projections: readonly Projection[],
): Promise<number | undefined> {
  const { log, clock } = runtime
  const { readModelName: name, '~projection': definition } = projection
  // A switch by another process locks the same rows in its own order.
  const registered = await retry(() => registerProjection(runtime, projection), {
    clock,
    attempts: 10,
    baseMs: 20,
    maxMs: 500,
    when: (error) => error instanceof DatabaseError && error.sqlState === '40P01',
  })
  if (registered.kind === 'older') {
    log(
      'warn',
      `${name}: this process defines an older version than ${registered.active}, which goes on serving; it folds nothing for it`,
      {
        toGoBack: `readModel('${name}').rollback()`,
      },
    )
    return undefined
  }
  if (registered.made) log('info', `${name}: building version ${definition.version}`)
  for (const old of registered.replaced) {
    const store = storeOf(runtime, projections, old)
    if (store) await dropProjection(runtime, old, store)
    else await retireProjection(runtime, old)
  }
  return registered.id
}
