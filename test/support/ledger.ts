import { randomUUID } from 'node:crypto'
import { aggregate, type Database, type Log, silentLog, systemClock } from 'headwater'
import { z } from 'zod'
import { readGeneration } from '../../src/app/generation.ts'
import { quote } from '../../src/database/identifier.ts'
import { migrate } from '../../src/database/migrate.ts'
import { databaseLog } from '../../src/log/database-log.ts'
import type { AppendCompanion, AppendOutcome, EventLog, ExpectedVersion } from '../../src/log/log.ts'
import type { ProjectionRuntime } from '../../src/projection/registry.ts'
import { databaseStore } from '../../src/read-model/database-store.ts'

/** The smallest ledger: accounts that are opened, paid into and closed. */
export const account = aggregate('account', {
  events: {
    Opened: z.object({ owner: z.string() }),
    Deposited: z.object({ amount: z.int() }),
    Closed: z.object({}),
  },
  initialState: () => ({}),
  evolve: { Opened: (state) => state, Deposited: (state) => state, Closed: (state) => state },
})

export type Happening =
  | readonly ['Opened', { owner: string }]
  | readonly ['Deposited', { amount: number }]
  | readonly ['Closed', Record<string, never>]

/** A database with Headwater's schema and a log, and short words for appending to it. */
export interface Ledger {
  readonly runtime: ProjectionRuntime
  readonly eventLog: EventLog
  append(stream: string, ...happened: readonly Happening[]): Promise<AppendOutcome>
  appendTo(stream: string, expected: ExpectedVersion, ...happened: readonly Happening[]): Promise<AppendOutcome>
  /** Many events at once, each of a stream, straight into the log. */
  fill(happened: readonly (readonly [stream: string, ...Happening])[]): Promise<void>
  rows(table: string): Promise<Readonly<Record<string, unknown>>>
}

export async function openLedger(
  database: Database,
  schema: string,
  options: { readonly companion?: () => AppendCompanion | undefined; readonly log?: Log; readonly onAppended?: () => void } = {},
): Promise<Ledger> {
  await migrate(database, schema)
  const log = options.log ?? silentLog
  const { id: generation } = await readGeneration(database, schema)
  const companion: AppendCompanion = {
    get oneByOne() {
      return options.companion?.()?.oneByOne ?? false
    },
    prepare: async (requests) =>
      (await options.companion?.()?.prepare(requests)) ?? {
        projections: [],
        parts: requests.map(() => ({ rows: [], needs: [] })),
        settled: () => {},
      },
  }
  const eventLog = databaseLog({
    database,
    schema,
    clock: systemClock,
    log,
    generation: () => generation,
    renewGeneration: async () => undefined,
    onLost: () => undefined,
    companion,
    ...(options.onAppended ? { onAppended: options.onAppended } : {}),
  })
  const runtime: ProjectionRuntime = {
    database,
    schema,
    eventLog,
    store: databaseStore(database, schema, { home: true }),
    clock: systemClock,
    log,
  }
  const appendTo: Ledger['appendTo'] = async (stream, expected, ...happened) =>
    await eventLog.append({
      streams: [
        {
          aggregate: 'account',
          stream,
          expected,
          events: happened.map(([type, data]) => ({ id: randomUUID(), type, schemaVersion: 1, data, metadata: {} })),
        },
      ],
    })
  return {
    runtime,
    eventLog,
    appendTo,
    append: (stream, ...happened) => appendTo(stream, 'any', ...happened),
    fill: (happened) => fill(database, schema, happened),
    async rows(table) {
      const { rows } = await database.query<{ key: string; row: unknown }>(
        `select key, row from ${quote(schema)}.${quote(table)} order by key`,
      )
      return Object.fromEntries(rows.map(({ key, row }) => [key, row]))
    },
  }
}

async function fill(database: Database, schema: string, happened: readonly (readonly [string, ...Happening])[]): Promise<void> {
  const s = quote(schema)
  const { rows } = await database.query<{ stream: string; version: number; head: number }>(
    `select stream, max(version) as version, (select max(position) from ${s}.event) as head from ${s}.event group by 1`,
  )
  const versions = new Map(rows.map(({ stream, version }) => [stream, version]))
  const columns = happened.map(([stream, type, data]) => {
    const name = `account-${stream}`
    const version = (versions.get(name) ?? 0) + 1
    versions.set(name, version)
    return { name, version, type, data: JSON.stringify(data) }
  })
  await database.query(
    `insert into ${s}.event (position, stream, version, id, type, schema_version, data, metadata, time)
     select $1::int8 + n, stream, version, gen_random_uuid(), type, 1, data::json, '{}', clock_timestamp()
     from unnest($2::text[], $3::int[], $4::text[], $5::text[]) with ordinality e(stream, version, type, data, n)`,
    [
      rows[0]?.head ?? 0,
      columns.map(({ name }) => name),
      columns.map(({ version }) => version),
      columns.map(({ type }) => type),
      columns.map(({ data }) => data),
    ],
  )
}
