import { headwater } from 'headwater'
import { postgres } from 'headwater/postgres'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { OwnCluster, ownClusterMissing } from './support/own-cluster.ts'
import { model, replicatedServers, settings } from './support/replicas.ts'
import { seed, seeded } from './support/seed.ts'

describe.skipIf(ownClusterMissing)(ownClusterMissing || 'replicas under faults', () => {
  let primary: OwnCluster
  let first: OwnCluster
  let second: OwnCluster
  const { servers, stops, freshPlace, started } = replicatedServers()

  beforeAll(() => {
    ;({ primary, first, second } = servers())
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
