import { randomUUID } from 'node:crypto'
import { type Database, DatabaseUnavailableError } from 'headwater'
import { postgres } from 'headwater/postgres'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { lockClass } from '../src/database/migrate.ts'
import { keyed, type LogPlace, logPlace, to } from './log/log-place.ts'
import { databases, postgresUrl } from './support/databases.ts'
import { isLong, seed } from './support/seed.ts'
import { TcpProxy, type Verdict } from './support/tcp-proxy.ts'

const skip = databases.find(({ name }) => name === 'postgres')?.skip ?? false

describe.skipIf(skip)(`the log under faults, seed ${seed}`, () => {
  let database: Database
  let place: LogPlace
  beforeAll(async () => {
    database = postgres(postgresUrl, { poolSize: 6 })
    place = await logPlace(database)
  })
  afterAll(() => database.close())

  describe('a connection that is lost', () => {
    let proxy: TcpProxy
    let through: Database
    const { hostname, port } = new URL(postgresUrl)
    beforeAll(async () => {
      proxy = await TcpProxy.open({ host: hostname, port: Number(port || 5432) })
      through = postgres(proxy.url(postgresUrl), { poolSize: 1, applicationName: `faults ${seed}` })
    })
    afterAll(async () => {
      proxy.judge = () => 'forward'
      await through.close()
      await proxy.close()
    })

    /** What to do with the message that carries the append, and how it goes on. */
    const scenes: readonly {
      readonly name: string
      readonly verdict: Verdict
      readonly blocked?: boolean
      readonly after: 'deliver' | 'late' | 'drop' | 'cut'
    }[] = [
      { name: 'the append waits for the lock when it is cut', verdict: 'forward', blocked: true, after: 'cut' },
      { name: 'the append waits for the lock after it was cut', verdict: 'hold', blocked: true, after: 'deliver' },
      { name: 'the append comes while it is being settled', verdict: 'hold', after: 'deliver' },
      { name: 'the append comes after it was settled', verdict: 'hold', after: 'late' },
      { name: 'the append never comes', verdict: 'hold', after: 'drop' },
      { name: 'the server never sees it', verdict: 'cut-before', after: 'drop' },
      { name: 'the answer is lost', verdict: 'cut-after', after: 'drop' },
    ]

    const quiet = async () => {
      await expect
        .poll(async () => {
          const active = `select count(*) as n from pg_stat_activity where application_name = $1 and state <> 'idle'`
          return (await database.query<{ n: number }>(active, [`faults ${seed}`])).rows[0]?.n
        })
        .toBe(0)
    }

    // Each of the scenes so often.
    const times = isLong ? 200 : 7
    test(`the outcome told is the outcome that happened, ${times} times in each way to lose it`, { timeout: 900_000 }, async () => {
      const log = place.log({ database: through })
      const counts = new Map<string, number>()
      for (let i = 0; i < times * scenes.length; i++) {
        const scene = scenes[i % scenes.length]
        if (!scene) continue
        const stream = `lost-${i}`
        const request =
          i % 4 < 2 ? to(stream, 0, 2) : keyed({ streams: [...to(stream, 0, 2).streams, ...to(`${stream}-b`, 'any').streams] }, stream)
        const { release, released } = scene.blocked ? await holdLock() : { release: () => {}, released: undefined }
        let cut = false
        proxy.judge = ({ sql }) => {
          if (cut || !sql?.includes('.append(')) return 'forward'
          cut = true
          if (scene.after === 'deliver') setImmediate(() => setImmediate(() => proxy.deliver()))
          if (scene.after === 'drop') setImmediate(() => setImmediate(() => proxy.drop()))
          return scene.verdict
        }
        place.calls.length = 0
        const telling = log.append(request)
        if (scene.blocked) await expect.poll(waiting).toBeGreaterThan(0)
        if (scene.after === 'cut') proxy.cut()
        release()
        await released
        const outcome = await telling
        expect([scene.name, cut, place.calls]).toEqual([scene.name, true, ['lost']])
        if (scene.after === 'late') proxy.deliver()
        await quiet()
        const { events } = await place.log().readStream('thing', stream)
        counts.set(outcome.status, (counts.get(outcome.status) ?? 0) + 1)
        if (outcome.status === 'appended') {
          const others = request.streams.length === 2 ? 1 : 0
          expect(events.map(({ position, id }) => [position + others, id])).toEqual(
            request.streams[0]?.events.map(({ id }, n) => [outcome.position - 1 + n, id]),
          )
          expect(outcome.versions).toEqual(request.streams.map(({ events: { length } }) => length))
          const { rows } = await database.query(`select xmin::text as xid from "${place.schema}".event where position = $1`, [
            outcome.position,
          ])
          expect(rows).toEqual([{ xid: outcome.xid }])
        } else {
          expect([scene.name, outcome, events]).toEqual([scene.name, { status: 'stale' }, []])
          proxy.judge = () => 'forward'
          expect(await place.log().append(request)).toMatchObject({ status: 'appended' })
        }
      }
      expect(counts.get('appended')).toBeGreaterThanOrEqual(7)
      expect(counts.get('stale')).toBeGreaterThanOrEqual(21)
    })

    /** Someone else who holds the lock on the log. */
    async function holdLock(): Promise<{ release: () => void; released: Promise<void> }> {
      let release = () => {}
      let held = () => {}
      const holding = new Promise<void>((resolve) => {
        held = resolve
      })
      const released = database.transaction(async (transaction) => {
        await transaction.query('select pg_advisory_xact_lock($1::int, 0)', [lockClass(place.schema) + 4])
        held()
        await new Promise<void>((resolve) => {
          release = resolve
        })
      })
      await holding
      return { release: () => release(), released }
    }

    const waiting = async () =>
      (
        await database.query<{ n: number }>(
          `select count(*) as n from pg_locks where locktype = 'advisory' and not granted and classid = $1::oid`,
          [(lockClass(place.schema) + 4) >>> 0],
        )
      ).rows[0]?.n

    test('that cannot be had again in time: the outcome is unknown', async () => {
      const failing: Database = { ...database, query: () => Promise.reject(new DatabaseUnavailableError('gone', 'statement')) }
      const clock = { now: () => 0, sleep: async () => {} }
      const log = place.log({ database: failing, clock })
      await expect(log.append(keyed(to('a'), randomUUID()))).rejects.toMatchObject({ code: 'outcome_unknown' })
    })

    test('before anything could be sent: nothing happened', async () => {
      const failing: Database = { ...database, query: () => Promise.reject(new DatabaseUnavailableError('gone', 'connect')) }
      await expect(place.log({ database: failing }).append(to('a'))).rejects.toMatchObject({ code: 'database_unavailable' })
    })
  })
})
