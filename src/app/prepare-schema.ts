import { migrate } from '../database/migrate.ts'
import { DatabaseUnavailableError, DefinitionError } from '../errors.ts'
import { retry } from '../internal/retry.ts'
import type { ViewRuntime } from '../materialized-view/registry.ts'

/** @throws {DefinitionError} it could not be the name of a PostgreSQL schema, with room for names made of it */
export function checkSchemaName(schema: string): void {
  if (/^[a-z][a-z0-9_]{0,39}$/.test(schema)) return
  throw new DefinitionError(`schema ${JSON.stringify(schema)}: a name has 1 to 40 of a-z, 0-9 and _, and begins with a letter`)
}

/** Brings Headwater's own schema to this version, and waits for a database that does not answer yet. */
export async function prepareSchema({ database, schema, clock, log }: ViewRuntime, connectTimeoutMs: number): Promise<void> {
  const deadline = clock.now() + connectTimeoutMs
  const migrated = await retry(() => migrate(database, schema), {
    clock,
    attempts: Number.POSITIVE_INFINITY,
    baseMs: 250,
    maxMs: 5000,
    when: (error) => error instanceof DatabaseUnavailableError && clock.now() < deadline,
    onRetry: (error, _attempt, pause) => log('warn', `the database does not answer: ${(error as Error).message}`, { tryAgainMs: pause }),
  })
  if (migrated.length === 0) return
  log('info', `schema ${schema}: ${migrated.length === 1 ? 'one migration' : `${migrated.length} migrations`} applied`, {
    migrations: migrated,
  })
}
