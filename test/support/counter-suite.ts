import { type Database, headwater, type Log, type Role, type Store } from 'headwater'
import { afterEach, beforeEach } from 'vitest'
import { places, priceTables } from '../process/counters.ts'
import type { Breakable } from './breakable-store.ts'
import type { CounterApplication } from './counters.ts'
import { databases, freshSchema, lasting } from './databases.ts'

/** The server that its databases are on. */
export const server = databases.find(({ name }) => name === 'postgres')

/**
 * For each test of a suite a database with the tables of prices, and applications of counters over it. The suite calls this before it has hooks of
 * its own: those find what the test has `opened`. After the test its `apps` are stopped and what it left in `closing` is called, the last first.
 */
export function counterSuite() {
  let database: Database
  let schema: string
  const apps: CounterApplication[] = []
  const closing: (() => Promise<unknown>)[] = []
  /** What was said of what, and for how long to wait before it is tried again. */
  const said: { readonly message: string; readonly tryAgainMs: number | undefined }[] = []
  const log: Log = (_level, message, details) => {
    said.push({ message, tryAgainMs: (details as { tryAgainMs?: number } | undefined)?.tryAgainMs })
    if (process.env.LOUD) process.stdout.write(`${message} ${JSON.stringify(details ?? {})}\n`)
  }

  beforeEach(async () => {
    if (!server) throw new Error('no server')
    database = await server.open()
    schema = freshSchema()
    said.splice(0)
    await database.query(priceTables)
  })

  afterEach(async () => {
    for (const app of apps.splice(0)) await app.stop()
    for (const close of closing.splice(0).reverse()) await close()
    await database.query(`drop schema if exists "${schema}" cascade`)
    await database.close()
  })

  function application(kept: Readonly<Record<string, Store | undefined>>, on: Database = database): CounterApplication {
    const app = headwater({ database: lasting(on), schema, log, pollIntervalMs: 10, ...places(kept) }) as unknown as CounterApplication
    apps.push(app)
    return app
  }

  async function started(kept: Readonly<Record<string, Store | undefined>>, roles?: readonly Role[], on?: Database) {
    const app = application(kept, on)
    await app.start(roles ? { roles } : {})
    return app
  }

  async function broken<B extends Breakable>(breakable: Promise<B>): Promise<B> {
    const made = await breakable
    closing.push(() => made.close())
    return made
  }

  /** Processes know a store by its address, which is another past the proxy. */
  function direct(breakable: Breakable): Store {
    const store = Object.assign(breakable.direct(), { description: breakable.open().description })
    closing.push(async () => store.close?.())
    return store
  }

  async function fill(app: CounterApplication, count: number): Promise<void> {
    for (let i = 0; i < count; i++) {
      await app.execute('count', { id: `k${i}`, by: 1 + (i % 7) })
      await app.execute('setPrice', { id: `k${i}`, price: 1 + (i % 7) })
    }
  }

  /** How the read models of a place are. */
  async function statusesOf(app: CounterApplication, name: string) {
    const { readModels } = await app.status()
    return readModels.filter((status) => status.name === `totals_${name}` || status.name === `prices_${name}`)
  }

  return { opened: () => ({ database, schema }), apps, closing, said, log, started, broken, direct, fill, statusesOf }
}

/** A code where it fails, else the result. */
export async function outcome(
  app: CounterApplication,
  query: string,
  input: object = {},
  after?: string,
  waitMs?: number,
): Promise<unknown> {
  try {
    return (await app.query(query, input, { ...(after === undefined ? {} : { after }), ...(waitMs === undefined ? {} : { waitMs }) }))
      .result
  } catch (error) {
    return error instanceof Error && 'code' in error ? error.code : String(error)
  }
}
