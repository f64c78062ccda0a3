import type { Database } from '../database/database.ts'
import type { Clock } from '../internal/clock.ts'
import type { Log } from '../internal/log.ts'
import type { Lanes } from './lanes.ts'
import type { AppendCompanion } from './log.ts'

/** What the log needs from the application. */
export interface LogRuntime {
  readonly database: Database
  /** The schema where Headwater keeps its own tables. */
  readonly schema: string
  readonly clock: Clock
  readonly log: Log
  /** The generation that this process believes the database to be of. An append into another one is not made. */
  readonly generation: () => string
  /** Reads the generation anew, after the database said that it is another one. */
  readonly renewGeneration: () => Promise<void>
  /** What was remembered of streams and rows may be wrong: a connection was lost, or the database is not the one it was. Drop it. */
  readonly onLost: () => void
  /** Sync projections. Default: none. */
  readonly companion?: AppendCompanion | undefined
  /** How many groups may be under way. Default: one or two, whatever serves better at the moment. */
  readonly lanes?: Pick<Lanes, 'allowed'>
  /** After each group that appended events: the position of the last of them. A hint for those who tail the log. */
  readonly onAppended?: ((position: number) => void) | undefined
}
