import { type Database, type Log, silentLog, systemClock } from 'headwater'
import { readGeneration } from '../../src/app/generation.ts'
import type { Staging } from '../../src/command/command-runtime.ts'
import { Snapshots } from '../../src/command/snapshots.ts'
import { StateCache } from '../../src/command/state-cache.ts'
import type { EventRuntime } from '../../src/command/stream-state.ts'
import { migrate } from '../../src/database/migrate.ts'
import { databaseLog } from '../../src/log/database-log.ts'
import type { EventLog } from '../../src/log/log.ts'
import { stageAppend, takeStaged } from '../../src/log/stage-append.ts'
import { freshSchema } from './databases.ts'

/** What one process has to carry out commands of aggregates with. */
export type EventProcess = EventRuntime & { readonly snapshots: Snapshots; readonly staging: Staging }

/** Headwater's own schema, with a log. */
export interface EventPlace {
  readonly database: Database
  readonly schema: string
  /** The means of one more process: a cache and a log of its own, on the same database. `over` changes the log that it sees. */
  process(over?: { readonly log?: Log; readonly eventLog?: (log: EventLog) => Partial<EventLog> }): EventProcess
}

/** Makes an {@link EventPlace}; the schema goes when the file's tests are over. */
export async function eventPlace(database: Database): Promise<EventPlace> {
  const schema = freshSchema('headwater')
  await migrate(database, schema)
  const { id } = await readGeneration(database, schema)
  return {
    database,
    schema,
    process({ log = silentLog, eventLog = () => ({}) } = {}) {
      const states = new StateCache()
      const parts = { database, schema, clock: systemClock, log }
      const logRuntime = { ...parts, generation: () => id, renewGeneration: async () => {}, onLost: () => states.clear() }
      const own = databaseLog(logRuntime)
      const plain: EventLog = {
        append: (request) => own.append(request),
        readStream: (...place) => own.readStream(...place),
        readState: (...place) => own.readState(...place),
        read: (options) => own.read(options),
        head: () => own.head(),
      }
      const staging: Staging = {
        stage: (transaction, request) => stageAppend(logRuntime, transaction, request),
        take: async (staged) => {
          const outcome = await takeStaged(database, schema, staged)
          if (!outcome) throw new Error('nothing was staged')
          return outcome
        },
      }
      return { ...parts, eventLog: { ...plain, ...eventLog(plain) }, states, snapshots: new Snapshots(parts), staging }
    },
  }
}
