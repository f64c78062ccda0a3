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
  type Replica,
  ReplicaBehindError,
  systemClock,
  type,
  type WhenBehind,
} from 'headwater'
import { handler } from 'headwater/http'
import { postgres } from 'headwater/postgres'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { z } from 'zod'
import { lockClass } from '../src/database/migrate.ts'
import { readWalPosition, WalPositions } from '../src/database/wal-position.ts'
import { decodeToken, encodeToken, mergeTokens, type Token } from '../src/message/token.ts'
import { OwnCluster, ownClusterMissing } from './support/own-cluster.ts'
import { seed, seeded } from './support/seed.ts'

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
const upsert = 'insert into counter values ($1, $2) on conflict (id) do update set value = excluded.value'
const definitions = {
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

function model(update: Mode) {
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

function resolvable(): { readonly promise: Promise<void>; readonly resolve: () => void } {
  let resolve = () => {}
  const promise = new Promise<void>((done) => {
    resolve = done
  })
  return { promise, resolve }
}

/** The replicas of a pair whose primary is `to`: so they are on `on`. */
function openPair(on: string, to: string): { readonly replicas: readonly Replica[]; readonly close: () => Promise<void> } {
  const database = postgres({ primary: to, replicas: [on] })
  return { replicas: database.replicas?.each ?? [], close: () => database.close() }
}

const settings = ['autovacuum=off', 'timezone=Asia/Tokyo', 'wal_receiver_status_interval=1s', 'wal_retrieve_retry_interval=100ms']

describe.skipIf(ownClusterMissing)(ownClusterMissing || 'queries from replicas', () => {
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

  interface Place {
    readonly schema: string
    readonly tables: string
    /** On the primary alone, with the tables in its search path. */
    readonly database: Database
  }

  async function freshPlace(): Promise<Place> {
    const suffix = randomUUID().slice(0, 8)
    const tables = `tables_${suffix}`
    const database = postgres(primary.url, { poolSize: 2, searchPath: tables })
    await database.query(`create schema ${tables}; create table ${tables}.counter (id int primary key, value int not null)`)
    stops.push(() => database.close())
    return { schema: `headwater_${suffix}`, tables, database }
  }

  interface How {
    readonly whenBehind?: WhenBehind
    readonly replicas?: readonly OwnCluster[]
    readonly update?: Mode
    readonly pooled?: boolean
    readonly lines?: string[]
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

  test('commands go to the primary, queries to the replicas in turn; status() names them', async () => {
    const at = await freshPlace()
    const app = await started(at, { replicas: [first, second] })
    await app.execute('set', { id: 1, value: 5 })
    await app.settle()
    for (const standby of [first, second]) await standby.replayed(primary)
    const answers = []
    for (let i = 0; i < 4; i++) answers.push((await app.query('count', { id: 1 })).result)
    expect(answers.map(({ value }) => value)).toEqual([5, 5, 5, 5])
    expect(answers.map(({ port }) => port).sort()).toEqual([first.port, first.port, second.port, second.port].sort())
    const { replicas } = await app.status()
    expect(replicas.map(({ name, state, error }) => ({ name, state, error }))).toEqual(
      [first, second].map(({ port }) => ({ name: `postgres://postgres@127.0.0.1:${port}/postgres`, state: 'following', error: null })),
    )
    expect(replicas.every(({ lagMs, behindBytes }) => lagMs !== null && behindBytes !== null)).toBe(true)
    // What queries demand nothing of may be read by any of them, also when it hangs behind; the answer and the status say so.
    await first.pause()
    await app.execute('set', { id: 1, value: 6 })
    await app.settle()
    await second.replayed(primary)
    const seen = new Map<number | undefined, unknown>()
    for (let i = 0; i < 2; i++) {
      const { result } = await app.query('count', { id: 1 })
      seen.set(result.port, result.value)
    }
    expect(seen).toEqual(
      new Map([
        [first.port, 5],
        [second.port, 6],
      ]),
    )
    const [behind] = (await app.status()).replicas
    expect(behind?.behindBytes).toBeGreaterThan(0)
    expect(behind?.lagMs).toBeGreaterThan(0)
  })

  for (const update of ['async', 'sync'] as const) {
    test(`a token is answered by the primary while the replica is behind, and by the replica after (${update})`, async () => {
      const app = await started(await freshPlace(), { update })
      await first.pause()
      const { token } = await app.execute('set', { id: 1, value: 5 })
      expect((await app.query('count', { id: 1 }, { after: token, waitMs: 30_000 })).result).toMatchObject({ value: 5, port: primary.port })
      expect((await app.query('count', { id: 1 })).result).toMatchObject({ value: undefined, port: first.port })
      await app.settle()
      await first.resume()
      await first.replayed(primary)
      expect((await app.query('count', { id: 1 }, { after: token, waitMs: 30_000 })).result).toMatchObject({ value: 5, port: first.port })
    })
  }

  test("'wait' waits for the replica, and says so when that takes too long", async () => {
    const app = await started(await freshPlace(), { whenBehind: 'wait' })
    await first.pause()
    const { token } = await app.execute('set', { id: 1, value: 5 })
    await expect(app.query('count', { id: 1 }, { after: token, waitMs: 30 })).rejects.toBeInstanceOf(ReplicaBehindError)
    const waiting = app.query('count', { id: 1 }, { after: token, waitMs: 30_000 })
    await first.resume()
    expect((await waiting).result).toMatchObject({ value: 5, port: first.port })
  })

  test("'fail' fails at once, over HTTP with 503, unless a stale answer is allowed", async () => {
    const app = await started(await freshPlace(), { whenBehind: 'fail' })
    await first.pause()
    const { token } = await app.execute('set', { id: 1, value: 5 })
    const error = await app.query('count', { id: 1 }, { after: token, waitMs: 30_000 }).catch((thrown: unknown) => thrown)
    expect(error).toBeInstanceOf(ReplicaBehindError)
    expect(error).toMatchObject({ code: 'replica_behind', details: { replicas: [expect.stringContaining(String(first.port))] } })
    const url = `http://localhost/queries/count?input=${encodeURIComponent(JSON.stringify({ id: 1 }))}`
    const response = await handler(app)(new Request(url, { headers: { 'Headwater-Token': token } }))
    expect([response.status, ((await response.json()) as { code: string }).code]).toEqual([503, 'replica_behind'])
    const stale = await app.query('count', { id: 1 }, { after: token, waitMs: 30_000, allowStale: true })
    expect(stale.result).toMatchObject({ value: undefined, port: first.port })
    await first.resume()
    await app.settle()
    await first.replayed(primary)
    expect((await app.query('count', { id: 1 }, { after: token, waitMs: 30_000 })).result).toMatchObject({ value: 5, port: first.port })
  })

  test('every way to write makes a token that a replica has to replay', async () => {
    const at = await freshPlace()
    const app = await started(at, { whenBehind: 'fail' })
    const other = await started(at)
    const again = { idempotencyKey: 'once' }
    await app.execute('set', { id: 1, value: 1 }, again)
    await app.execute('count', { id: 2, value: 1 }, again)
    let value = 1
    const ways: Record<string, () => Promise<{ readonly token: string }>> = {
      'a command over tables': () => app.execute('set', { id: 1, value }),
      'with a key': () => app.execute('set', { id: 1, value }, { idempotencyKey: `set ${value}` }),
      'a key that was used': () => app.execute('set', { id: 1, value: 1 }, again),
      'many over tables': () =>
        app.executeMany(
          'set',
          [1, 2, 3].map((id) => ({ id, value })),
          { batchSize: 1 },
        ),
      'an append': () => app.execute('count', { id: 2, value }),
      'an append with a key': () => app.execute('count', { id: 2, value }, { idempotencyKey: `count ${value}` }),
      'an append whose key was used': () => app.execute('count', { id: 2, value: 1 }, again),
      'many appends': () =>
        app.executeMany(
          'count',
          [1, 2, 3].map((id) => ({ id, value })),
        ),
      'what a command emits': () => app.execute('note', { id: 2, value }),
      'nothing written': () => app.execute('look', {}),
    }
    for (const [way, write] of Object.entries(ways)) {
      value++
      await first.replayed(primary)
      await first.pause()
      // What others wrote meanwhile, a repeated answer covers too: the first run is long ago, but when its answer was read is now.
      await other.execute('set', { id: 9, value })
      const { token } = await write()
      const demand = { after: token, waitMs: 30_000 }
      for (const name of ['count', 'total'] as const) {
        await expect(app.query(name, { id: 2 }, demand), way).rejects.toMatchObject({ code: 'replica_behind' })
      }
      await first.resume()
      await app.settle()
      await first.replayed(primary)
      expect((await app.query('count', { id: 9 }, demand)).result, way).toMatchObject({ value, port: first.port })
      expect((await app.query('total', { id: 2 }, demand)).result, way).toMatchObject({ port: first.port })
    }
  })

  test('a replica that has the write but not what a worker did for it does not answer', async () => {
    const at = await freshPlace()
    const app = await started(at, { whenBehind: 'wait' })
    const release = await held(at)
    const { token } = await app.execute('set', { id: 1, value: 5 })
    await first.replayed(primary)
    await first.pause()
    await release()
    await app.settle()
    // Level on the primary; the replica has the table's row and its mark, and not the view's.
    expect(await first.query(`select value from ${at.tables}.counter`)).toEqual([{ value: 5 }])
    await expect(app.query('count', { id: 1 }, { after: token, waitMs: 30 })).rejects.toMatchObject({ code: 'behind', have: 0, want: 1 })
    const waiting = app.query('count', { id: 1 }, { after: token, waitMs: 30_000 })
    await first.resume()
    expect((await waiting).result).toMatchObject({ value: 5, port: first.port })
  })

  test('what a token no longer names, because the primary holds it, the replica must hold as well', async () => {
    const app = await started(await freshPlace(), { whenBehind: 'fail' })
    await first.pause()
    const { token } = await app.execute('set', { id: 1, value: 5 })
    await app.settle()
    const { token: later } = await app.execute('look', {}, { after: token })
    expect(decodeToken(later).writes).toEqual([])
    expect(Number(decodeToken(later).wal)).toBeGreaterThan(Number(decodeToken(token).wal))
    await expect(app.query('count', { id: 1 }, { after: later })).rejects.toMatchObject({ code: 'replica_behind' })
  })

  test('... also when a worker did it while the token was being made', async () => {
    const at = await freshPlace()
    const app = await started(at)
    const { readModels, queries } = model('async')
    const database = postgres({ primary: primary.url, replicas: [first.url], whenBehind: 'fail', searchPath: at.tables })
    const meanwhile = { done: async () => {} }
    const other = headwater({
      database: {
        traits: database.traits,
        replicas: database.replicas,
        close: () => database.close(),
        transaction: (...call) => database.transaction(...call),
        async query(...call) {
          if (call[0].includes('.unapplied(')) await meanwhile.done()
          return await database.query(...call)
        },
      },
      schema: at.schema,
      commands: definitions,
      readModels,
      queries,
      log: () => {},
    })
    stops.push(() => other.stop())
    await other.start({ roles: ['commands', 'queries'] })
    const release = await held(at)
    const { token } = await app.execute('set', { id: 1, value: 5 })
    let worked = false
    meanwhile.done = async () => {
      // The replica stops between the write and what the worker does for it, and has everything that was written before.
      await first.replayed(primary)
      await first.pause()
      await release()
      await app.settle()
      worked = true
    }
    const { token: later } = await other.execute('look', {}, { after: token })
    expect(worked).toBe(true)
    expect(decodeToken(later).writes).toEqual([])
    await expect(other.query('count', { id: 1 }, { after: later })).rejects.toMatchObject({ code: 'replica_behind' })
  })

  test('a commit that does not wait for the disk is not before its token either', async () => {
    const app = await started(await freshPlace(), { whenBehind: 'fail', update: 'sync' })
    let behind = 0
    for (let value = 1; value <= 20; value++) {
      await first.replayed(primary)
      const { token } = await app.execute('setLazily', { id: 1, value })
      try {
        expect((await app.query('count', { id: 1 }, { after: token })).result).toMatchObject({ value, port: first.port })
      } catch (error) {
        if ((error as { code?: string }).code !== 'replica_behind') throw error
        behind++
      }
    }
    expect(behind).toBeGreaterThan(0)
  })

  test('a position that is asked for while another is on its way is read anew', async () => {
    const database = postgres(primary.url, { poolSize: 2 })
    stops.push(() => database.close())
    const gate = resolvable()
    const read = resolvable()
    let statements = 0
    const positions = new WalPositions({
      async query(...call) {
        const answer = await database.query(...call)
        statements++
        read.resolve()
        if (statements === 1) await gate.promise
        return answer as never
      },
    })
    const early = positions.now()
    await read.promise
    await primary.query('create table if not exists anything (n int)')
    const [at] = await primary.query(`insert into anything values (1) returning (pg_current_wal_insert_lsn() - '0/0')::text as wal`)
    const later = [positions.now(), positions.now(), positions.now()]
    gate.resolve()
    expect(Number((await early).wal)).toBeLessThan(Number(at?.wal))
    for (const position of later) expect(Number((await position).wal)).toBeGreaterThan(Number(at?.wal))
    expect(statements).toBe(2)
  })

  test('the snapshot of a look is taken after what the replica said of itself', async () => {
    const { replicas, ...database } = openPair(primary.url, first.url)
    stops.push(database.close)
    await primary.query('create table if not exists seen (n int)')
    await primary.query('truncate seen')
    const holder = postgres(primary.url, { poolSize: 1 })
    stops.push(() => holder.close())
    await holder.query('select pg_advisory_lock(77)')
    // The other way round, so that the "replica" is a server on which something may be written while it waits.
    const [replica] = replicas
    const looking = replica?.snapshotAfter(
      'select pg_advisory_xact_lock(77)::text as said',
      () => true,
      async (client) => {
        const count = async () => (await client.query<{ n: number }>('select count(*)::int as n from seen')).rows[0]?.n
        const before = await count()
        await primary.query('insert into seen values (2)')
        const { rows } = await client.query<{ isolation: string; only: string }>(
          `select current_setting('transaction_isolation') as isolation, current_setting('transaction_read_only') as only`,
        )
        return { before, after: await count(), ...rows[0] }
      },
    )
    const waiting = `select from pg_locks where locktype = 'advisory' and objid = 77 and not granted`
    while ((await primary.query(waiting)).length === 0) await new Promise((resolve) => setTimeout(resolve, 5))
    await primary.query('insert into seen values (1)')
    await holder.query('select pg_advisory_unlock(77)')
    expect(await looking).toEqual({ value: { before: 1, after: 1, isolation: 'repeatable read', only: 'on' } })
    expect(
      await replica?.snapshotAfter(
        'select 1 as n',
        ({ n }) => n === 2,
        async () => 'read',
      ),
    ).toBeUndefined()
  })

  test('latest and maxStalenessMs hold on a replica too', async () => {
    const at = await freshPlace()
    const app = await started(at, { whenBehind: 'fail' })
    await first.pause()
    await at.database.query(upsert, [1, 5])
    await app.settle()
    for (const demand of [{ latest: true }, { maxStalenessMs: 0 }] as const) {
      await expect(app.query('count', { id: 1 }, demand)).rejects.toMatchObject({ code: 'replica_behind' })
    }
    await first.resume()
    await first.replayed(primary)
    // Both ask where the primary is now, which writes a little by itself.
    for (const demand of [{ latest: true }, { maxStalenessMs: 60_000 }] as const) {
      const answer = await app.query('count', { id: 1 }, { ...demand, allowStale: true })
      expect(answer.result).toMatchObject({ value: 5 })
    }
  })

  test('a token of a process without replicas knows no WAL position, and holds all the same', async () => {
    const at = await freshPlace()
    const app = await started(at, { whenBehind: 'fail' })
    const { readModels, queries } = model('async')
    const without = headwater({
      database: postgres(primary.url, { searchPath: at.tables }),
      schema: at.schema,
      commands: definitions,
      readModels,
      queries,
      log: () => {},
    })
    stops.push(() => without.stop())
    await without.start()
    await first.pause()
    const mine = await app.execute('set', { id: 2, value: 1 })
    const { token } = await without.execute('set', { id: 1, value: 5 })
    expect(decodeToken(token).wal).toBeUndefined()
    expect(Buffer.from(token, 'base64url').toString().split('.')).toHaveLength(4)
    await app.settle()
    for (const after of [token, `${token},${mine.token}`, `${mine.token},${token}`]) {
      await expect(app.query('count', { id: 1 }, { after })).rejects.toMatchObject({ code: 'replica_behind' })
    }
    await first.resume()
    await first.replayed(primary)
    const { token: added } = await app.execute('look', {}, { after: token })
    await first.replayed(primary)
    expect((await app.query('count', { id: 1 }, { after: added })).result).toMatchObject({ value: 5, port: first.port })
  })

  test('a process that only queries knows how far the primary is, and so how old its answers are', async () => {
    const at = await freshPlace()
    const app = await started(at)
    const { token } = await app.execute('set', { id: 1, value: 5 })
    await app.settle()
    await first.replayed(primary)
    const { readModels, queries } = model('async')
    let ahead = 0
    const reader = headwater({
      database: postgres({ primary: primary.url, replicas: [first.url], searchPath: at.tables }),
      schema: at.schema,
      readModels,
      queries,
      log: () => {},
      clock: { now: () => Date.now() + ahead, sleep: systemClock.sleep },
    })
    stops.push(() => reader.stop())
    await reader.start({ roles: ['queries'] })
    expect((await reader.query('count', { id: 1 }, { after: token })).result).toMatchObject({ value: 5, port: first.port })
    await first.pause()
    await app.execute('set', { id: 1, value: 6 })
    await app.settle()
    ahead = 1500
    const { result, lagMs } = await reader.query('count', { id: 1 }, { after: token })
    expect(result).toMatchObject({ value: 5, port: first.port })
    expect(lagMs).toBeGreaterThanOrEqual(1500)
  })

  test('a query that conflicts with what the replica replays is answered by the primary', async () => {
    const at = await freshPlace()
    await first.set('max_standby_streaming_delay', '0')
    stops.push(() => first.set('max_standby_streaming_delay', '30000'))
    const app = await started(at)
    const { token } = await app.execute('set', { id: 1, value: 5 })
    await app.settle()
    await first.replayed(primary)
    let runs = 0
    app.gates.onCount = async () => {
      runs++
      if (runs > 1) return
      await primary.query(`update ${at.schema}.counts_v1 set value = value`)
      await primary.query(`vacuum ${at.schema}.counts_v1`)
      await first.replayed(primary)
    }
    expect((await app.query('count', { id: 1 }, { after: token })).result).toMatchObject({ value: 5, port: primary.port })
    expect(runs).toBe(2)
    app.gates.onCount = async () => {}
    await first.replayed(primary)
    expect((await app.query('count', { id: 1 }, { after: token })).result).toMatchObject({ value: 5, port: first.port })
  })

  test('a snapshot is taken after the replica said how far it is, also behind a pooler, with the settings of every session', async () => {
    const at = await freshPlace()
    await primary.query(`alter role postgres set search_path to ${at.tables}`)
    stops.push(() => primary.query('alter role postgres reset search_path'))
    const app = await started(at, { pooled: true })
    const { token } = await app.execute('set', { id: 1, value: 5 })
    await app.settle()
    await first.replayed(primary)
    const answer = await app.query('count', { id: 1 }, { after: token })
    expect(answer.result).toEqual({ value: 5, port: first.port, zone: 'UTC' })
  })

  test('a replica of an older generation is not read from until it has the new one', async () => {
    const at = await freshPlace()
    const before = await started(at)
    await before.stop()
    await first.pause()
    await at.database.query(`update ${at.schema}.generation set identity = identity || '{"marks": "0"}'`)
    const { readModels, queries } = model('async')
    const after = headwater({
      database: postgres({ primary: primary.url, replicas: [first.url], searchPath: at.tables }),
      schema: at.schema,
      readModels,
      queries,
      log: () => {},
    })
    stops.push(() => after.stop())
    await after.start()
    expect((await after.query('count', { id: 1 })).result.port).toBe(primary.port)
    expect((await after.status()).replicas).toMatchObject([{ state: 'behind', lagMs: null }])
    await first.resume()
    await first.replayed(primary)
    expect((await after.status()).replicas).toMatchObject([{ state: 'following' }])
    expect((await after.query('count', { id: 1 })).result.port).toBe(first.port)
  })

  test('a replica that is down is left out, and read from again when it is back', async () => {
    const at = await freshPlace()
    const lines: string[] = []
    const app = await started(at, { replicas: [first, second], lines })
    for (let i = 0; i < 2; i++) await app.query('count', { id: 1 })
    await second.crash()
    const ports = new Set<number | undefined>()
    for (let i = 0; i < 6; i++) ports.add((await app.query('count', { id: 1 })).result.port)
    expect([...ports]).toEqual([first.port])
    // The queries themselves have found out.
    expect(lines.filter((line) => line.startsWith('warn a replica is unreachable'))).toHaveLength(1)
    expect((await app.status()).replicas).toMatchObject([{ state: 'following' }, { state: 'unreachable', lagMs: null }])
    expect(lines.filter((line) => line.startsWith('warn a replica is unreachable') && line.includes(String(second.port)))).toHaveLength(1)
    await second.start()
    await second.replayed(primary)
    expect((await app.status()).replicas).toMatchObject([{ state: 'following' }, { state: 'following' }])
    for (let i = 0; i < 2; i++) ports.add((await app.query('count', { id: 1 })).result.port)
    expect(ports).toContain(second.port)
  })

  describe('what is no replica of this primary', () => {
    let promoted: OwnCluster
    let branch: OwnCluster
    let stranger: OwnCluster

    beforeAll(async () => {
      promoted = await primary.standby()
      stranger = await OwnCluster.primary(settings, { standby: true })
    }, 120_000)
    afterAll(async () => {
      for (const cluster of [branch, promoted, stranger]) await cluster?.remove()
    })

    test('one that is promoted is noticed, also in the middle of a session, and refused by name', async () => {
      const at = await freshPlace()
      const lines: string[] = []
      const app = await started(at, { replicas: [promoted], lines, whenBehind: 'wait' })
      const { token } = await app.execute('set', { id: 1, value: 5 })
      await app.settle()
      await promoted.replayed(primary)
      expect((await app.query('count', { id: 1 }, { after: token })).result.port).toBe(promoted.port)
      await promoted.query('select pg_promote()')
      await promoted.query(`update ${at.schema}.counts_v1 set value = 666`)
      // Not even within the second for which it is believed.
      expect((await app.query('count', { id: 1 }, { after: token })).result).toMatchObject({ value: 5, port: primary.port })
      expect((await app.query('count', { id: 1 })).result).toMatchObject({ value: 5, port: primary.port })
      const [status] = (await app.status()).replicas
      expect(status).toMatchObject({ state: 'refused', lagMs: null, behindBytes: null })
      expect(status?.name).toContain(String(promoted.port))
      expect(status?.error).toContain('not in recovery')
      expect(lines.filter((line) => line.startsWith('warn a replica is refused') && line.includes(String(promoted.port)))).toHaveLength(1)
    })

    test('one that follows another server of the same descent is refused', async () => {
      branch = await promoted.standby()
      const app = await started(await freshPlace(), { replicas: [branch] })
      expect((await app.query('count', { id: 1 })).result.port).toBe(primary.port)
      expect((await app.status()).replicas).toMatchObject([{ state: 'refused', error: 'it is on timeline 2, the primary on 1' }])
    })

    test('one of another cluster is refused', async () => {
      const app = await started(await freshPlace(), { replicas: [stranger, first] })
      for (let i = 0; i < 3; i++) expect((await app.query('count', { id: 1 })).result.port).toBe(first.port)
      expect((await app.status()).replicas).toMatchObject([
        { state: 'refused', error: 'it is a replica of another database cluster' },
        { state: 'following' },
      ])
    })
  })

  test('a position at the very beginning of a page is one that a replica reaches', async () => {
    const [page] = await primary.query(`select current_setting('wal_block_size')::int as size`)
    const size = Number(page?.size)
    const left = `select (${size} - (pg_current_wal_insert_lsn() - '0/0') % ${size})::int as left`
    let met = false
    for (let tries = 0; tries < 200 && !met; tries++) {
      const [before] = await primary.query(left)
      // A message record has a header of some fifty bytes, which is found out by trying.
      const fill = Number(before?.left) - 40 - (tries % 64)
      if (fill <= 0) {
        await primary.query(`select pg_logical_emit_message(false, '', repeat('x', 100))`)
        continue
      }
      await primary.query(`select pg_logical_emit_message(false, '', repeat('x', ${fill}))`)
      const [after] = await primary.query(`select ((pg_current_wal_insert_lsn() - '0/0') % ${size})::int as at`)
      met = after?.at === 24
    }
    expect(met).toBe(true)
    const database = postgres(primary.url, { poolSize: 1 })
    stops.push(() => database.close())
    const { wal } = await readWalPosition(database)
    expect(Number(wal) % size).toBe(0)
  })

  test(`under writers, readers, pauses and crashes no answer is from before its token (seed ${seed})`, { timeout: 240_000 }, async () => {
    const at = await freshPlace()
    const random = seeded(seed)
    const replicas = [first, second]
    // One of them cancels whatever is in the way.
    await first.set('max_standby_streaming_delay', '0')
    stops.push(() => first.set('max_standby_streaming_delay', '30000'))
    const apps = [
      await started(at, { replicas, whenBehind: 'primary' }),
      await started(at, { replicas, whenBehind: 'wait' }),
      await started(at, { replicas, whenBehind: 'fail' }),
    ]
    const found = { answers: new Map<number | undefined, number>(), behind: 0, early: [] as string[] }
    const end = { now: false }
    const writer = async (id: number) => {
      let after: string | undefined
      for (let value = 1; !end.now; value++) {
        const writing = apps[random(apps.length)] as (typeof apps)[number]
        const events = random(2) === 0
        const options = after === undefined ? {} : { after }
        const { token } = await writing.execute(events ? 'count' : 'set', { id, value }, options)
        // Sometimes the token of the last write alone, sometimes all of them added up.
        after = random(10) < 7 ? token : undefined
        const reading = apps[random(apps.length)] as (typeof apps)[number]
        try {
          const { result } = await reading.query(events ? 'total' : 'count', { id }, { after: token, waitMs: 3000 })
          found.answers.set(result.port, (found.answers.get(result.port) ?? 0) + 1)
          if (result.value !== value) found.early.push(`${id}: ${result.value} instead of ${value} from ${result.port}`)
        } catch (error) {
          if (!['replica_behind', 'behind'].includes((error as { code?: string }).code ?? '')) throw error
          found.behind++
        }
      }
    }
    const writers = Array.from({ length: 8 }, (_, id) => writer(id))
    const writing = Promise.all(writers)
    const commotion = async () => {
      for (let round = 0; round < 24; round++) {
        const standby = replicas[random(2)] as OwnCluster
        if (round === 8 || round === 16) {
          await standby.crash()
          await standby.start()
        } else if (random(2) === 0) await standby.pause()
        else for (const each of replicas) await each.resume()
        const from = [...found.answers.values()].reduce((a, b) => a + b, found.behind)
        while ([...found.answers.values()].reduce((a, b) => a + b, found.behind) < from + 15)
          await new Promise((resolve) => setTimeout(resolve, 5))
      }
    }
    try {
      await Promise.race([writing, commotion()])
    } finally {
      end.now = true
      for (const standby of replicas) await standby.resume()
    }
    await writing
    expect(found.early).toEqual([])
    // All of it happened: answers by each, and some that were not there.
    for (const { port } of [primary, first, second]) expect(found.answers.get(port) ?? 0).toBeGreaterThan(10)
    expect(found.behind).toBeGreaterThan(0)
  })
})

describe('tokens and options', () => {
  const token = (wal: string | undefined): Token => ({
    generation: 'abc',
    writes: [{ xid: '5', fanOut: false }],
    upTo: undefined,
    position: 0,
    wal,
  })

  test('a token keeps its WAL position, with and without a position in the log', () => {
    for (const position of [0, 77]) {
      for (const wal of ['1', String(2n ** 63n)]) {
        expect(decodeToken(encodeToken({ ...token(wal), position }))).toEqual({ ...token(wal), position })
      }
      expect(decodeToken(encodeToken({ ...token(undefined), position })).wal).toBeUndefined()
    }
    const tooLarge = Buffer.from('1.abc.5.7..zzzzzzzzzzzzz').toString('base64url')
    expect(() => decodeToken(tooLarge)).toThrow(expect.objectContaining({ code: 'malformed' }))
  })

  test('tokens add up to the later WAL position, or to none when one has none', () => {
    expect(mergeTokens(token('99'), token('100')).wal).toBe('100')
    expect(mergeTokens(token('100'), token('99')).wal).toBe('100')
    expect(mergeTokens(token('100'), token(undefined)).wal).toBeUndefined()
    expect(mergeTokens(token(undefined), token('100')).wal).toBeUndefined()
  })

  test('servers that are named twice, and a choice that is none, are refused', () => {
    const url = 'postgres://localhost/a'
    expect(() => postgres({ primary: url, replicas: [url] })).toThrow(expect.objectContaining({ code: 'usage' }))
    expect(() => postgres({ primary: 'postgres://localhost/b', replicas: [url, url] })).toThrow(expect.objectContaining({ code: 'usage' }))
    expect(() => postgres({ primary: url, replicas: [], whenBehind: 'never' as WhenBehind })).toThrow(
      expect.objectContaining({ code: 'usage' }),
    )
    expect(postgres({ primary: url, replicas: [] }).replicas).toBeUndefined()
  })
})
