import { randomUUID } from 'node:crypto'
import {
  aggregate,
  command,
  type Database,
  headwater,
  type LogLevel,
  type Mode,
  materializedView,
  projection,
  query,
  type,
  type WhenBehind,
} from 'headwater'
import { postgres } from 'headwater/postgres'
import { afterAll, afterEach, beforeAll } from 'vitest'
import { z } from 'zod'
import { lockClass } from '../../src/database/migrate.ts'
import { OwnCluster } from './own-cluster.ts'

const tally = aggregate('tally', {
  events: { Counted: z.object({ value: z.int() }) },
  initialState: () => ({}),
  evolve: { Counted: (state) => state },
})
const totals = projection('totals', {
  from: [tally],
  row: z.object({ value: z.int() }),
  on: { Counted: (_row, { data }) => ({ value: data.value }) },
})

const input = z.object({ id: z.int(), value: z.int() })
/** Sets a counter. */
export const upsert = 'insert into counter values ($1, $2) on conflict (id) do update set value = excluded.value'
/** Every way to write: counters into their table, and events. */
export const definitions = {
  set: command('set', { input, execute: async ({ id, value }, { client }) => void (await client.query(upsert, [id, value])) }),
  setLazily: command('setLazily', {
    input,
    async execute({ id, value }, { client }) {
      await client.query('set local synchronous_commit = off')
      await client.query(upsert, [id, value])
    },
  }),
  /** Writes nothing. */
  look: command('look', { input: z.object({}), execute: async () => 'looked' }),
  note: command('note', {
    input,
    execute: async ({ id, value }, { emit }) => emit(tally, String(id), tally.events.Counted({ value })),
  }),
  count: tally.command('count', {
    input,
    stream: ({ id }) => String(id),
    decide: (_state, { value }, { events }) => [events.Counted({ value })],
  }),
}

/** The counters as a view and the events as a projection, each with a query that says which server answered; `onCount` runs in the midst of one. */
export function model(update: Mode) {
  const counts = materializedView('counts', {
    row: type<{ id: number; value: number }>(),
    key: 'id',
    select: 'select id, value from counter',
    changedBy: { counter: 'id' },
    update,
  })
  const gates = { onCount: async () => {} }
  return {
    gates,
    readModels: { counts, totals },
    queries: {
      count: query('count', {
        input: z.object({ id: z.int() }),
        reads: { counts },
        async execute({ id }, { counts, sql }) {
          const [at] = await sql<{ port: number; zone: string }>`select inet_server_port() as port, current_setting('TimeZone') as zone`
          await gates.onCount()
          return { value: (await counts.get(id))?.value, ...at }
        },
      }),
      total: query('total', {
        input: z.object({ id: z.int() }),
        reads: { totals },
        async execute({ id }, { totals, sql }) {
          const [at] = await sql<{ port: number }>`select inet_server_port() as port`
          return { value: (await totals.get(String(id)))?.value, port: at?.port }
        },
      }),
    },
  }
}

/** How the servers are set up. */
export const settings = ['autovacuum=off', 'timezone=Asia/Tokyo', 'wal_receiver_status_interval=1s', 'wal_retrieve_retry_interval=100ms']

interface Place {
  readonly schema: string
  readonly tables: string
  /** On the primary alone, with the tables in its search path. */
  readonly database: Database
}

interface How {
  readonly whenBehind?: WhenBehind
  readonly replicas?: readonly OwnCluster[]
  readonly update?: Mode
  readonly pooled?: boolean
  readonly lines?: string[]
}

/**
 * A primary and two standbys for a suite, which calls this before it has hooks of its own: those find the `servers` started. What a test leaves in
 * `stops` is called after it, the last first, and the standbys replay again.
 */
export function replicatedServers() {
  let primary: OwnCluster
  let first: OwnCluster
  let second: OwnCluster
  const stops: (() => Promise<unknown>)[] = []

  beforeAll(async () => {
    primary = await OwnCluster.primary(settings)
    first = await primary.standby()
    second = await primary.standby()
  }, 120_000)
  afterAll(async () => {
    for (const cluster of [second, first, primary]) await cluster?.remove()
  })
  afterEach(async () => {
    for (const stop of stops.splice(0).reverse()) await stop()
    for (const standby of [first, second]) await standby.resume()
  })

  async function freshPlace(): Promise<Place> {
    const suffix = randomUUID().slice(0, 8)
    const tables = `tables_${suffix}`
    const database = postgres(primary.url, { poolSize: 2, searchPath: tables })
    await database.query(`create schema ${tables}; create table ${tables}.counter (id int primary key, value int not null)`)
    stops.push(() => database.close())
    return { schema: `headwater_${suffix}`, tables, database }
  }

  /** An application in that place, that reads from the first replica unless told otherwise. Level, and so are its replicas. */
  async function started(
    at: Place,
    { whenBehind = 'primary', replicas = [first], update = 'async', pooled = false, lines = [] }: How = {},
  ) {
    const { gates, readModels, queries } = model(update)
    const search = pooled ? { prepare: false } : { searchPath: at.tables }
    const app = headwater({
      database: postgres({ primary: primary.url, replicas: replicas.map(({ url }) => url), whenBehind, ...search }),
      schema: at.schema,
      commands: definitions,
      readModels,
      queries,
      log: (level: LogLevel, message, fields) => lines.push(`${level} ${message} ${JSON.stringify(fields ?? {})}`),
      pollIntervalMs: 20,
    })
    stops.push(() => app.stop())
    await app.start()
    await app.settle()
    for (const standby of [first, second]) if (replicas.includes(standby)) await standby.replayed(primary)
    return Object.assign(app, { gates })
  }

  /** Keeps every worker from the view until the function it resolves to is called. */
  async function held({ schema, database }: Place): Promise<() => Promise<void>> {
    const holder = postgres(primary.url, { poolSize: 1 })
    const { rows } = await database.query<{ id: number }>(`select id from "${schema}".view`)
    await holder.query('select pg_advisory_lock($1::int, $2::int)', [lockClass(schema) + 1, rows[0]?.id])
    stops.push(() => holder.close())
    return () => holder.close()
  }

  return { servers: () => ({ primary, first, second }), stops, freshPlace, started, held }
}
