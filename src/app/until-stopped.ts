import type { Database } from '../database/database.ts'
import type { Clock } from '../internal/clock.ts'
import type { ViewRuntime } from '../materialized-view/registry.ts'
import type { Starting } from './life.ts'

/**
 * The same runtime for what `start()` does: its database refuses and its clock waits no longer when the application is stopped meanwhile, so that nothing
 * which tries again and again (a server that does not answer, a table that others hold) holds up the stop. A statement under way ends as it would have.
 */
export function untilStopped(runtime: ViewRuntime, starting: Starting): ViewRuntime {
  return { ...runtime, database: refusing(runtime.database, starting), clock: wakened(runtime.clock, starting) }
}

function refusing(database: Database, { goOn }: Starting): Database {
  return {
    query: async (text, values, options) => {
      goOn()
      return await database.query(text, values, options)
    },
    transaction: async (work, options) => {
      goOn()
      return await database.transaction(work, options)
    },
    close: () => database.close(),
    traits: database.traits,
  }
}

function wakened(clock: Clock, { signal }: Starting): Clock {
  return { now: () => clock.now(), sleep: (ms, other) => clock.sleep(ms, other ? AbortSignal.any([other, signal]) : signal) }
}
