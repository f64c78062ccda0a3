/** A log of the built library, for processes that append without an application. */
import { type Database, silentLog, systemClock } from 'headwater'

/** Imports a module of the built library that is no entry of it: `log/database-log.js`. */
export async function dist<T>(file: string): Promise<T> {
  return (await import(new URL(`../../../dist/${file}`, import.meta.url).href)) as T
}

/** A log in a schema of a database, which fails once the generation is another, and the runtime that it has. */
export async function distLog(database: Database, { schema, generation }: { readonly schema: string; readonly generation: string }) {
  const { databaseLog } = await dist<typeof import('../../src/log/database-log.ts')>('log/database-log.js')
  const runtime = {
    database,
    schema,
    clock: systemClock,
    log: silentLog,
    generation: () => generation,
    renewGeneration: () => Promise.reject(new Error('the generation changed')),
    onLost: () => {},
  }
  return { runtime, log: databaseLog(runtime) }
}
