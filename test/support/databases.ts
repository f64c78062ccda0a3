import { randomBytes } from 'node:crypto'
import type { Database } from 'headwater'
import { pglite, postgres } from 'headwater/postgres'
import { afterAll } from 'vitest'
import { postgresMissing, postgresUrl } from './addresses.ts'

export { postgresUrl } from './addresses.ts'

/** A kind of database that a suite runs on. */
export interface Target {
  readonly name: 'pglite' | 'postgres'
  /** Why it cannot run here, or false. */
  readonly skip: string | false
  /** An empty database of its own: a schema on the server, a PGlite in memory. Whoever does not close it leaves that to {@link cleanup}. */
  open(): Promise<Database>
}

/**
 * What suites that run on both use:
 *
 *     for (const target of databases) describe.skipIf(target.skip)(`on ${target.name}`, () => { ... await target.open() ... })
 */
export const databases: readonly Target[] = [
  { name: 'pglite', skip: false, open: openPglite },
  { name: 'postgres', skip: await postgresMissing(), open: openPostgres },
]

/** A name for a schema that nobody else uses. Drop it with {@link dropSchemas}, or let {@link cleanup} do it. */
export function freshSchema(prefix = 'test'): string {
  const name = `${prefix}_${randomBytes(6).toString('hex')}`
  schemas.add(name)
  return name
}

const schemas = new Set<string>()
const opened: Database[] = []
/** Booting a PGlite takes seconds, so one that a test has closed is emptied and used again. */
const idle: Database[] = []

/** Closes what tests of this file opened and drops its schemas. Runs by itself after the last test of a file that imports this one. */
export async function cleanup(): Promise<void> {
  await Promise.all([...opened.splice(0), ...idle.splice(0)].map((database) => database.close()))
  await dropSchemas()
}
afterAll(cleanup)

/** Drops the schemas that {@link freshSchema} named, as far as they exist. */
export async function dropSchemas(): Promise<void> {
  if (schemas.size === 0 || databases[1]?.skip) return
  const server = postgres(postgresUrl, { poolSize: 1 })
  for (const name of schemas) await server.query(`drop schema if exists ${name} cascade`)
  schemas.clear()
  await server.close()
}

async function openPostgres(): Promise<Database> {
  const schema = freshSchema()
  const database = postgres(postgresUrl, { searchPath: schema })
  opened.push(database)
  await database.query(`create schema ${schema}`)
  return database
}

async function openPglite(): Promise<Database> {
  const engine = idle.pop() ?? pglite()
  await engine.query(emptied)
  let closed: Promise<void> | undefined
  const database: Database = {
    traits: engine.traits,
    query: async (...call) => (closed ? refused.query(...call) : engine.query(...call)) as never,
    transaction: async (...call) => (closed ? refused.transaction(...call) : engine.transaction(...call)),
    close: () => {
      // The statements under way end first, as the port promises.
      closed ??= engine.query('select 1').then(() => void idle.push(engine))
      return closed
    },
  }
  opened.push(database)
  return database
}

/** What a closed database answers with. */
const refused = pglite()
await refused.close()

/** Every schema that is not PostgreSQL's own goes, and what is kept for the session. */
const emptied = `
  do $$ declare name text; begin
    for name in select nspname from pg_namespace where nspname !~ '^pg_' and nspname <> 'information_schema'
    loop execute format('drop schema %I cascade', name); end loop;
  end $$;
  create schema public;
  set search_path = public`

/** The same database, which survives the stop of an application that was given it. */
export function lasting(database: Database): Database {
  return {
    query: database.query.bind(database),
    transaction: database.transaction.bind(database),
    close: async () => undefined,
    traits: database.traits,
  }
}
