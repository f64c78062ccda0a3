import { headwater, type Replica, ReplicaBehindError, systemClock } from 'headwater'
import { handler } from 'headwater/http'
import { postgres } from 'headwater/postgres'
import { beforeAll, describe, expect, test } from 'vitest'
import { readWalPosition, WalPositions } from '../src/database/wal-position.ts'
import { decodeToken } from '../src/message/token.ts'
import { type OwnCluster, ownClusterMissing } from './support/own-cluster.ts'
import { definitions, model, replicatedServers, upsert } from './support/replicas.ts'

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

describe.skipIf(ownClusterMissing)(ownClusterMissing || 'queries from replicas', () => {
  let primary: OwnCluster
  let first: OwnCluster
  let second: OwnCluster
  const { servers, stops, freshPlace, started, held } = replicatedServers()

  beforeAll(() => {
    ;({ primary, first, second } = servers())
  })

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
})
