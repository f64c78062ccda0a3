import { randomUUID } from 'node:crypto'
import { type Database, silentLog, systemClock } from 'headwater'
import { readGeneration } from '../../src/app/generation.ts'
import { migrate } from '../../src/database/migrate.ts'
import { databaseLog } from '../../src/log/database-log.ts'
import type { AppendOutcome, AppendRequest, EventLog, EventToAppend, ExpectedVersion } from '../../src/log/log.ts'
import type { LogRuntime } from '../../src/log/log-runtime.ts'
import { freshSchema } from '../support/databases.ts'

/** A migrated schema with logs over it. */
export interface LogPlace {
  readonly database: Database
  readonly schema: string
  /** The generation that logs made here believe in. */
  generation: string
  /** What was called on the runtime of its logs. */
  readonly calls: string[]
  runtime(over?: Partial<LogRuntime>): LogRuntime
  log(over?: Partial<LogRuntime>): EventLog
}

export async function logPlace(database: Database): Promise<LogPlace> {
  const schema = freshSchema('headwater')
  await migrate(database, schema)
  const place: LogPlace = {
    database,
    schema,
    generation: (await readGeneration(database, schema)).id,
    calls: [],
    runtime: (over) => ({
      database,
      schema,
      clock: systemClock,
      log: silentLog,
      generation: () => place.generation,
      renewGeneration: async () => {
        place.generation = (await readGeneration(database, schema)).id
        place.calls.push('renewed')
      },
      onLost: () => void place.calls.push('lost'),
      ...over,
    }),
    log: (over) => databaseLog(place.runtime(over)),
  }
  return place
}

export function event(data: unknown = {}, type = 'Happened'): EventToAppend {
  return { id: randomUUID(), type, schemaVersion: 1, data, metadata: {} }
}

/** `count` events for one stream of the aggregate `thing`. */
export function to(stream: string, expected: ExpectedVersion = 'any', count = 1): AppendRequest {
  return { streams: [{ aggregate: 'thing', stream, expected, events: Array.from({ length: count }, () => event()) }] }
}

export function keyed(request: AppendRequest, key: string, command = 'act'): AppendRequest {
  return { ...request, answer: { command, key, inputHash: 'hash', result: { key } } }
}

export function statuses(outcomes: readonly AppendOutcome[]): readonly string[] {
  return outcomes.map(({ status }) => status)
}
