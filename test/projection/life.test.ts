import { randomUUID } from 'node:crypto'
import { type Database, silentLog } from 'headwater'
import { postgres } from 'headwater/postgres'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { z } from 'zod'
import { finishBuild, switchTo } from '../../src/projection/build.ts'
import { locateProjection } from '../../src/projection/locate.ts'
import { projection } from '../../src/projection/projection.ts'
import type { Projection } from '../../src/projection/projection-definition.ts'
import { type ProjectionHandle, projectionHandle } from '../../src/projection/projection-handle.ts'
import { projectionStatuses } from '../../src/projection/projection-status.ts'
import { readProjections } from '../../src/projection/registry.ts'
import { ProjectionWorker, type ProjectionWorkerOptions } from '../../src/projection/worker.ts'
import { documentReader } from '../../src/read-model/document-reader.ts'
import { databases, freshSchema, postgresUrl } from '../support/databases.ts'
import { account, type Ledger, openLedger } from '../support/ledger.ts'

/** Whether handlers fail at an amount of 13, as a bug that a new deployment mends. */
let unlucky = true

function balances(options: { version?: number; update?: 'sync' | 'async'; factor?: number; keyed?: boolean } = {}) {
  const { factor = 1 } = options
  return projection('balances', {
    from: [account],
    row: z.object({ owner: z.string(), balance: z.int() }),
    ...(options.keyed ? { key: ({ stream }: { stream: string }) => stream } : {}),
    on: {
      Opened: (_none, { data }) => ({ owner: data.owner, balance: 0 }),
      Deposited: (row, { data }) => {
        if (unlucky && data.amount === 13) throw new Error('unlucky')
        return row && { ...row, balance: row.balance + factor * data.amount }
      },
      Closed: () => null,
    },
    indexes: { byOwner: ['owner'] },
    update: options.update ?? 'async',
    version: options.version ?? 1,
  })
}

/** One row for all events: a key that is no stream. */
const totals = projection('totals', {
  from: [account],
  row: z.object({ events: z.int(), amount: z.int() }),
  key: ({ type }) => (type === 'Deposited' ? ['all', 'deposits'] : 'all'),
  on: {
    Opened: (row) => ({ events: (row?.events ?? 0) + 1, amount: row?.amount ?? 0 }),
    Deposited: (row, { data }) => ({ events: (row?.events ?? 0) + 1, amount: (row?.amount ?? 0) + data.amount }),
  },
})

for (const target of databases) {
  describe.skipIf(target.skip)(`the life of a projection on ${target.name}`, () => {
    let database: Database
    let schema: string
    let ledger: Ledger
    let worker: ProjectionWorker | undefined
    const workers: ProjectionWorker[] = []

    beforeEach(async () => {
      unlucky = true
      database = await target.open()
      schema = freshSchema()
      worker = undefined
      ledger = await openLedger(database, schema, { companion: () => worker?.companion, onAppended: () => worker?.wake(), log: silentLog })
    })

    afterEach(async () => {
      for (const one of workers.splice(0)) await one.stop()
      await database.query(`drop schema if exists "${schema}" cascade`)
      await database.close()
    })

    async function started(projections: unknown, options: Partial<ProjectionWorkerOptions> = {}): Promise<ProjectionWorker> {
      const one = new ProjectionWorker(ledger.runtime, {
        projections: (Array.isArray(projections) ? projections : [projections]) as Projection[],
        pollIntervalMs: 20,
        rollbackWindowMs: 86_400_000,
        ...options,
      })
      worker = one
      workers.push(one)
      await one.start()
      return one
    }

    async function stopped(one: ProjectionWorker): Promise<void> {
      workers.splice(workers.indexOf(one), 1)
      await one.stop()
    }

    async function statusOf(one: ProjectionWorker, name = 'balances') {
      await one.refresh()
      const statuses = await projectionStatuses(ledger.runtime, one.versions, {
        defined: new Set(one.own.map(({ version }) => version.name)),
        storeOf: (version) => one.placeOf(version)?.store,
        trouble: (id) => one.trouble(id),
      })
      return statuses.find((status) => status.name === name)
    }

    function handleOf(one: ProjectionWorker, name = 'balances'): ProjectionHandle {
      return projectionHandle(ledger.runtime, one, name, () => statusOf(one, name))
    }

    test('a parked key waits, is retried in order once the handler is mended, and named until then', async () => {
      const running = await started(balances())
      await ledger.append('a', ['Opened', { owner: 'ann' }], ['Deposited', { amount: 13 }], ['Deposited', { amount: 1 }])
      await ledger.append('b', ['Opened', { owner: 'bob' }])
      await running.settle()
      await ledger.append('a', ['Deposited', { amount: 2 }])
      await running.settle()
      const handle = handleOf(running)
      expect(await handle.parked()).toMatchObject([{ key: 'a', position: 2, reason: 'unlucky' }])
      expect(await handle.status()).toMatchObject({ state: 'live', parked: 1, rows: 2, pending: 0 })
      expect((await handle.verify()).differences).toEqual([])
      await expect(handle.retry('a')).rejects.toThrow(/parked again at position 2: unlucky/)
      await expect(handle.retry('b')).rejects.toThrow(/not parked/)
      unlucky = false
      await handle.retry()
      expect(await handle.parked()).toEqual([])
      expect(await ledger.rows('balances')).toMatchObject({ a: { balance: 16 }, b: { balance: 0 } })
      await ledger.append('a', ['Deposited', { amount: 4 }])
      await running.settle()
      expect(await ledger.rows('balances')).toMatchObject({ a: { balance: 20 } })
      expect((await handle.verify()).differences).toEqual([])
    })

    test('an event is skipped with a reason that is kept, and the fold agrees from then on', async () => {
      const running = await started(balances())
      await ledger.append('a', ['Opened', { owner: 'ann' }], ['Deposited', { amount: 13 }], ['Deposited', { amount: 1 }])
      await running.settle()
      const handle = handleOf(running)
      await expect(handle.skip('a', ' ')).rejects.toThrow(/reason/)
      await handle.skip('a', 'entered twice')
      await ledger.append('a', ['Deposited', { amount: 2 }])
      await running.settle()
      expect(await ledger.rows('balances')).toMatchObject({ a: { balance: 3 } })
      expect((await handle.verify()).differences).toEqual([])
      const { rows } = await database.query(`select key, position, reason from "${schema}".skipped_event`)
      expect(rows).toEqual([{ key: 'a', position: 2, reason: 'entered twice' }])
      await stopped(running)
      const again = await started(balances())
      await ledger.append('a', ['Deposited', { amount: 2 }])
      await again.settle()
      expect((await handleOf(again).verify()).differences).toEqual([])
    })

    test('drift is found, whatever its kind, and mended', async () => {
      const running = await started([balances(), totals])
      for (const stream of ['a', 'b', 'c', 'd']) await ledger.append(stream, ['Opened', { owner: stream }], ['Deposited', { amount: 5 }])
      await ledger.append('d', ['Closed', {}])
      await running.settle()
      const handle = handleOf(running)
      expect(await handle.verify()).toEqual({ readModel: 'balances', version: 1, keysChecked: 3, differences: [] })
      await database.query(`update "${schema}".balances_v1 set row = '{"owner": "a", "balance": 7}' where key = 'a';
        delete from "${schema}".balances_v1 where key = 'b';
        insert into "${schema}".balances_v1 values ('d', '{"owner": "d", "balance": 5}', 3, 1, array['x'])`)
      await database.query(`update "${schema}".totals_v1 set row = '{"events": 1, "amount": 1}' where key = 'deposits'`)
      const found = [
        { key: 'a', kind: 'different' },
        { key: 'b', kind: 'missing' },
        { key: 'd', kind: 'surplus' },
      ]
      const byKey = (x: { key: string }, y: { key: string }) => (x.key < y.key ? -1 : 1)
      expect((await handle.verify()).differences.toSorted(byKey)).toEqual(found)
      expect((await handle.verify({ sample: 100 })).differences.toSorted(byKey)).toEqual(found)
      const sums = handleOf(running, 'totals')
      expect((await sums.verify({ sample: 10 })).differences).toEqual([{ key: 'deposits', kind: 'different' }])
      expect((await handle.repair()).differences).toHaveLength(3)
      await sums.rebuild()
      expect((await handle.verify()).differences).toEqual([])
      expect((await sums.verify()).differences).toEqual([])
      expect(await ledger.rows('balances')).toMatchObject({ a: { balance: 5 }, b: { balance: 5 } })
      await ledger.append('b', ['Deposited', { amount: 1 }])
      await running.settle()
      expect(await ledger.rows('balances')).toMatchObject({ b: { balance: 6 } })
    })

    test('why a row is what it is, and what it was at a position or a time', async () => {
      const running = await started([balances(), totals])
      await ledger.append('a', ['Opened', { owner: 'ann' }])
      await ledger.append('b', ['Opened', { owner: 'bob' }], ['Deposited', { amount: 3 }])
      await ledger.append('a', ['Deposited', { amount: 5 }])
      await ledger.append('b', ['Closed', {}])
      await running.settle()
      const handle = handleOf(running)
      expect(await handle.why('a')).toMatchObject([
        { position: 1, type: 'Opened', before: undefined, after: { owner: 'ann', balance: 0 }, changed: ['owner', 'balance'] },
        { position: 4, type: 'Deposited', before: { balance: 0 }, after: { balance: 5 }, changed: ['balance'] },
      ])
      expect((await handleOf(running, 'totals').why('deposits')).map(({ position }) => position)).toEqual([3, 4])
      const past = handle.asOf({ position: 3 })
      expect(await past.get('a' as never)).toEqual({ owner: 'ann', balance: 0 })
      expect(await past.find({ orderBy: { owner: 'desc' } as never })).toEqual({
        items: [
          { owner: 'bob', balance: 3 },
          { owner: 'ann', balance: 0 },
        ],
        next: null,
      })
      const [, second] = await ledger.eventLog.read({ after: 0, limit: 2 })
      const then = handle.asOf({ time: second?.time ?? '' })
      expect(await then.get('b' as never)).toEqual({ owner: 'bob', balance: 3 })
      expect(await then.get('a' as never)).toEqual({ owner: 'ann', balance: 0 })
      expect(await handle.asOf({ position: 0 }).find()).toEqual({ items: [], next: null })
      await expect(handle.asOf({ position: 99 }).find()).rejects.toMatchObject({ code: 'usage' })
      await expect(handle.asOf({ time: 'soon' }).find()).rejects.toMatchObject({ code: 'usage' })
    })

    test('pause and resume', async () => {
      const running = await started(balances())
      await ledger.append('a', ['Opened', { owner: 'ann' }])
      await running.settle()
      const handle = handleOf(running)
      await handle.pause()
      await ledger.append('a', ['Deposited', { amount: 1 }])
      await running.settle()
      expect(await handle.status()).toMatchObject({ state: 'paused', pending: 1 })
      expect(await ledger.rows('balances')).toMatchObject({ a: { balance: 0 } })
      expect(locateProjection(running, 'balances').state).toBe('stopped')
      await handle.resume()
      await running.settle()
      expect(await handle.status()).toMatchObject({ state: 'live', pending: 0 })
      expect(await ledger.rows('balances')).toMatchObject({ a: { balance: 1 } })
      await expect(handle.resume()).rejects.toMatchObject({ code: 'usage' })
    })

    test('an event that this code does not know: it stops at it, and a process that knows it goes on', async () => {
      const running = await started(balances())
      await ledger.append('a', ['Opened', { owner: 'ann' }])
      await database.query(
        `insert into "${schema}".event values (2, 'account-a', 2, $1, 'Frozen', 1, '{}', '{}', clock_timestamp()),
         (3, 'account-a', 3, $2, 'Deposited', 1, '{"amount": 2}', '{}', clock_timestamp())`,
        [randomUUID(), randomUUID()],
      )
      await running.settle()
      expect(await statusOf(running)).toMatchObject({
        state: 'stopped',
        error: expect.stringMatching(/position 2: account has an event Frozen/),
      })
      expect(await ledger.rows('balances_v1')).toEqual({ a: { owner: 'ann', balance: 0 } })
      // Its range is given back after it stopped.
      const range = async () => (await database.query(`select position, owner from "${schema}".checkpoint`)).rows
      await expect.poll(range).toEqual([{ position: 1, owner: null }])
      const knowing = { ...account, schemas: { ...account.schemas, Frozen: account.schemas.Closed }, '~read': (event: never) => event }
      const newer = projection('balances', {
        ...(balances()['~projection'] as object),
        from: [knowing],
        key: undefined,
        store: undefined,
      } as never)
      const second = await started(newer)
      await second.settle()
      expect(await statusOf(second)).toMatchObject({ state: 'live', error: undefined })
      expect(await ledger.rows('balances')).toMatchObject({ a: { balance: 2 } })
    })

    test('a key function that fails stops the read model, and nothing is skipped', async () => {
      const broken = projection('broken', {
        from: [account],
        row: z.object({ n: z.int() }),
        key: (event) => (event.type === 'Deposited' && event.data.amount === 7 ? '' : event.stream),
        on: { Opened: () => ({ n: 0 }), Deposited: (row, { data }) => ({ n: (row?.n ?? 0) + data.amount }) },
      })
      const running = await started([broken, balances()])
      await ledger.append(
        'a',
        ['Opened', { owner: 'ann' }],
        ['Deposited', { amount: 1 }],
        ['Deposited', { amount: 7 }],
        ['Deposited', { amount: 1 }],
      )
      await running.settle()
      expect(await statusOf(running, 'broken')).toMatchObject({ error: expect.stringMatching(/key of Deposited at position 3/) })
      expect(await ledger.rows('broken_v1')).toEqual({ a: { n: 1 } })
      expect(await ledger.rows('balances')).toMatchObject({ a: { balance: 9 } })
    })

    test('a log that is not the one it was folded from: it stops, serves nothing, and goes on when a person accepts', async () => {
      const first = await started(balances())
      await ledger.append('a', ['Opened', { owner: 'ann' }], ['Deposited', { amount: 5 }])
      await ledger.append('a', ['Deposited', { amount: 6 }])
      await first.settle()
      await stopped(first)
      await database.query(`delete from "${schema}".event where position = 3`)
      await ledger.append('a', ['Deposited', { amount: 100 }])
      await ledger.append('b', ['Opened', { owner: 'bob' }])
      const second = await started(balances())
      await second.settle()
      expect(await statusOf(second)).toMatchObject({ state: 'stopped', error: expect.stringMatching(/at position 3 .*accept\(\)/) })
      expect(() => locateProjection(second, 'balances')).toThrow(/restored or replaced/)
      await handleOf(second).accept()
      expect(() => locateProjection(second, 'balances')).toThrow(/folded anew/)
      await second.settle()
      expect(await statusOf(second)).toMatchObject({ state: 'live', error: undefined })
      expect(await ledger.rows('balances')).toEqual({ a: { owner: 'ann', balance: 105 }, b: { owner: 'bob', balance: 0 } })
    })

    test('a checkpoint ahead of the log', async () => {
      const first = await started(balances())
      await ledger.append('a', ['Opened', { owner: 'ann' }], ['Deposited', { amount: 5 }])
      await first.settle()
      await stopped(first)
      await database.query(`delete from "${schema}".event where position = 2`)
      const second = await started(balances())
      await second.settle()
      expect(await statusOf(second)).toMatchObject({
        state: 'stopped',
        error: expect.stringMatching(/position 2, which the log does not have/),
      })
    })

    test('an older process folds nothing for a newer model, and reads it', async () => {
      const newer = await started(balances({ version: 3, factor: 10 }))
      await ledger.append('a', ['Opened', { owner: 'ann' }], ['Deposited', { amount: 5 }])
      await newer.settle()
      const older = await started(balances({ version: 2 }))
      await older.settle()
      expect(older.own).toEqual([])
      expect(older.versions.map(({ version, state }) => [version, state])).toEqual([[3, 'live']])
      const { store, model } = locateProjection(older, 'balances')
      expect(await documentReader(store, model, { check: 'strict' }).get('a')).toEqual({ owner: 'ann', balance: 50 })
    })

    test('rollback needs the old version to have caught up; retired versions are dropped', async () => {
      const first = await started(balances())
      await ledger.append('a', ['Opened', { owner: 'ann' }], ['Deposited', { amount: 5 }])
      await first.settle()
      const second = await started(balances({ version: 2, factor: 10 }))
      await second.settle()
      await ledger.append('a', ['Deposited', { amount: 1 }])
      await Promise.all([first.settle(), second.settle()])
      expect(await handleOf(second).differences()).toMatchObject({ keysCompared: 1, added: 0, removed: 0, changed: 1, complete: true })
      await handleOf(second).rollback()
      expect(await ledger.rows('balances')).toMatchObject({ a: { balance: 6 } })
      expect(await statusOf(second)).toMatchObject({ version: 1, state: 'live' })
      await ledger.append('a', ['Deposited', { amount: 1 }])
      await Promise.all([first.settle(), second.settle()])
      expect(await statusOf(second)).toMatchObject({ version: 1, state: 'live' })
      await handleOf(second).rollback()
      await stopped(first)
      await ledger.append('a', ['Deposited', { amount: 1 }])
      await second.settle()
      await expect(handleOf(second).rollback()).rejects.toMatchObject({ code: 'building' })
      expect(await ledger.rows('balances')).toMatchObject({ a: { balance: 80 } })
      await stopped(second)
      const third = await started(balances({ version: 2, factor: 10 }), { rollbackWindowMs: 0 })
      await third.settle()
      expect(third.versions.map(({ version }) => version)).toEqual([2])
      const { rows } = await database.query(`select to_regclass('"${schema}".balances_v1') as gone`)
      expect(rows).toEqual([{ gone: null }])
    })

    test('a build that does not verify does not serve', async () => {
      await ledger.append('a', ['Opened', { owner: 'ann' }], ['Deposited', { amount: 5 }])
      let calls = 0
      const fickle = projection('fickle', {
        from: [account],
        row: z.object({ n: z.int() }),
        on: { Opened: () => ({ n: ++calls }) },
      })
      const running = await started(fickle)
      await running.settle()
      expect(await statusOf(running, 'fickle')).toMatchObject({
        state: 'stopped',
        version: undefined,
        error: expect.stringMatching(/did not verify/),
      })
    })

    test('ranges of keys are folded on their own, and joined again', async () => {
      const running = await started([balances({ keyed: true })])
      for (let i = 0; i < 30; i++) await ledger.append(`s${i}`, ['Opened', { owner: 'x' }], ['Deposited', { amount: i }])
      await running.settle()
      const handle = handleOf(running)
      await handle.divide(4)
      for (let i = 0; i < 30; i++) await ledger.append(`s${i}`, ['Deposited', { amount: 1 }])
      await running.settle()
      const { rows } = await database.query(`select first, last, position from "${schema}".checkpoint order by 1`)
      expect(rows).toEqual([0, 16, 32, 48].map((first) => ({ first, last: first + 15, position: 90 })))
      expect((await handle.verify()).differences).toEqual([])
      await handle.divide(1)
      await ledger.append('s0', ['Deposited', { amount: 1 }])
      await running.settle()
      expect((await database.query(`select first, last, position from "${schema}".checkpoint`)).rows).toEqual([
        { first: 0, last: 63, position: 91 },
      ])
      expect((await handle.verify()).differences).toEqual([])
    })

    test('a definition whose indexes changed under the same version is refused', async () => {
      await started(balances())
      const other = projection('balances', {
        ...(balances()['~projection'] as object),
        key: undefined,
        store: undefined,
        indexes: { other: ['balance'] },
      } as never)
      await expect(started(other)).rejects.toThrow(/raise "version"/)
      workers.pop()
    })

    test('a sync projection: parked keys wait, retried or caught up it goes on with appends', async () => {
      await ledger.append('a', ['Opened', { owner: 'ann' }], ['Deposited', { amount: 13 }])
      const running = await started(balances({ update: 'sync' }))
      await running.settle()
      const handle = handleOf(running)
      expect(await handle.parked()).toMatchObject([{ key: 'a', position: 2 }])
      await ledger.append('a', ['Deposited', { amount: 1 }])
      await ledger.append('b', ['Opened', { owner: 'bob' }])
      expect(await ledger.rows('balances')).toMatchObject({ a: { balance: 0 }, b: { balance: 0 } })
      unlucky = false
      await handle.retry('a')
      expect(await ledger.rows('balances')).toMatchObject({ a: { balance: 14 } })
      await ledger.append('a', ['Deposited', { amount: 1 }])
      expect(await ledger.rows('balances')).toMatchObject({ a: { balance: 15 } })
      expect((await handle.verify()).differences).toEqual([])
    })

    test('a sync projection reaches the head while others write all the time, and a key is retried meanwhile', async () => {
      const streams = Array.from({ length: 12 }, (_, i) => `s${i}`)
      await ledger.fill([
        ...streams.map((stream) => [stream, 'Opened', { owner: stream }] as const),
        ...Array.from({ length: 1500 }, (_, i) => [streams[i % 11] ?? 's0', 'Deposited', { amount: 1 }] as const),
        ['s11', 'Deposited', { amount: 13 }],
      ])
      let writing = true
      const total = { appended: 0 }
      const writer = async (stream: string) => {
        while (writing) {
          const { status } = await ledger.append(stream, ['Deposited', { amount: 1 }])
          if (status === 'appended') total.appended++
        }
      }
      const writers = Promise.all(streams.map(writer))
      const running = await started(balances({ update: 'sync', keyed: true }))
      while (running.versions[0]?.state !== 'live') await running.settle()
      unlucky = false
      await handleOf(running).retry('s11')
      const reached = total.appended
      while (total.appended < reached + 100) await ledger.append('other', ['Opened', { owner: 'x' }])
      writing = false
      await writers
      const { rows: left } = await database.query(
        `select (select max(position) from "${schema}".event) - position as behind from "${schema}".checkpoint`,
      )
      expect(left).toEqual([{ behind: 0 }])
      expect(await ledger.rows('balances')).toMatchObject({ s11: { balance: expect.any(Number) } })
      const verified = await handleOf(running).verify()
      expect(verified.differences).toEqual([])
      expect(verified.keysChecked).toBeGreaterThan(11)
    })

    test('an append that was prepared while its key was parked does not touch the row when it is parked no more', async () => {
      await ledger.append('a', ['Opened', { owner: 'ann' }], ['Deposited', { amount: 13 }])
      const running = await started(balances({ update: 'sync', keyed: true }))
      await running.settle()
      let between: (() => Promise<void>) | undefined = () => handleOf(running).skip('a', 'entered twice')
      const slow = await openLedger(database, schema, {
        companion: () => ({
          oneByOne: true,
          prepare: async (requests) => {
            const prepared = await running.companion.prepare(requests)
            const work = between
            between = undefined
            await work?.()
            return prepared
          },
        }),
      })
      expect(await slow.append('a', ['Deposited', { amount: 2 }])).toEqual({ status: 'stale' })
      expect(await slow.append('a', ['Deposited', { amount: 2 }])).toMatchObject({ status: 'appended' })
      expect(await ledger.rows('balances')).toEqual({ a: { owner: 'ann', balance: 2 } })
      expect((await handleOf(running).verify()).differences).toEqual([])
    })

    test('a build is finished only when all of it is there', async () => {
      await ledger.append('a', ['Opened', { owner: 'ann' }], ['Deposited', { amount: 5 }])
      const running = await started(balances(), { fold: false })
      const [own] = running.own
      if (!own) throw new Error('not registered')
      expect(await finishBuild(ledger.runtime, own)).toBe(false)
      await running.refresh()
      expect(running.versions).toMatchObject([{ state: 'building', active: false }])
      const folding = await started(balances())
      await folding.settle()
      expect(folding.versions).toMatchObject([{ state: 'live', active: true }])
    })

    describe.skipIf(target.name === 'pglite')('a switch', () => {
      /** Runs `first`, begins the switch, lets it come to a lock, runs `then`, and commits. */
      async function switchedAmid(first: string, then: string): Promise<boolean> {
        await ledger.append('a', ['Opened', { owner: 'ann' }])
        const running = await started(balances())
        await running.settle()
        await stopped(running)
        await database.query(`update "${schema}".projection set state = 'building'; update "${schema}".read_model set active = null`)
        const [version] = await readProjections(database, schema)
        if (!version) throw new Error('not registered')
        // Within a transaction its database refuses other calls.
        const other = postgres(postgresUrl, { poolSize: 1 })
        const { switching } = await other.transaction(async (transaction) => {
          await transaction.query(`update "${schema}".${first}`)
          const switching = switchTo(ledger.runtime, version)
          for (let waits = 0; waits === 0; ) {
            const { rows } = await database.query<{ waits: number }>(
              `select count(*)::int as waits from pg_stat_activity where wait_event_type = 'Lock' and query like '%"${schema}".%'`,
            )
            waits = rows[0]?.waits ?? 0
          }
          await transaction.query(`update "${schema}".${then}`)
          return { switching }
        })
        await other.close()
        return await switching
      }

      test('does not undo a stop that came before it', async () => {
        expect(await switchedAmid(`projection set state = 'stopped', error = 'because'`, 'projection set mode = mode')).toBe(false)
        expect(await readProjections(database, schema)).toMatchObject([{ state: 'stopped', error: 'because', active: false }])
      })

      test('and a registration do not wait for each other crosswise', async () => {
        expect(await switchedAmid('read_model set seen_at = clock_timestamp()', 'projection set mode = mode')).toBe(true)
      })
    })

    test('a changed handler under the same version is warned of', async () => {
      const warned: string[] = []
      ledger = await openLedger(database, schema, { log: (level, message) => void (level === 'warn' && warned.push(message)) })
      await started(balances())
      await started(balances())
      expect(warned).toEqual([])
      const changed = projection('balances', {
        ...(balances()['~projection'] as object),
        key: undefined,
        store: undefined,
        on: { Opened: () => ({ owner: 'x', balance: 0 }) },
      } as never)
      await started(changed)
      expect(warned).toEqual([expect.stringMatching(/code looks changed, but "version" is still 1/)])
    })
  })
}
