import type { Database } from 'headwater'
import { beforeEach, describe, expect, test } from 'vitest'
import { breakableRedis } from './support/breakable-store.ts'
import { counterSuite, outcome, server } from './support/counter-suite.ts'
import { expectedRows, storedRows } from './support/counters.ts'
import { isLong, type Random, seed, seeded } from './support/seed.ts'
import { redisMissing } from './support/store-addresses.ts'
import { waitUntil } from './support/wait.ts'

const redisSkip = await redisMissing()

describe.skipIf(server?.skip || redisSkip)(`a Redis that forgets, seed ${seed}`, () => {
  let database: Database
  let schema: string
  let random: Random
  const { opened, started, broken, direct, fill, statusesOf } = counterSuite()

  beforeEach(() => {
    ;({ database, schema } = opened())
    random = seeded(seed)
  })

  test('emptied while nobody writes: it answers "building" until all is there again, never a part', async () => {
    const breakable = await broken(breakableRedis())
    const app = await started({ away: breakable.open(), home: undefined })
    await fill(app, 30)
    await app.settle()
    const reader = await started({ away: direct(breakable), home: undefined }, ['queries'])
    await waitUntil(async () => (await reader.query('totals_away', {})).result === 30)
    // Whoever fills it again needs longer for one message than the reader for its question.
    breakable.proxy.delayMs = 100
    await breakable.server.control.flushAll()
    const seen = { totals_away: new Set<unknown>(), prices_away: new Set<unknown>() }
    for (const query of ['totals_away', 'prices_away'] as const) seen[query].add(await outcome(reader, query))
    breakable.proxy.delayMs = 5
    await waitUntil(async () => {
      for (const query of ['totals_away', 'prices_away'] as const) seen[query].add(await outcome(reader, query))
      return seen.totals_away.has(30) && seen.prices_away.has(30)
    })
    expect(seen).toEqual({ totals_away: new Set(['building', 30]), prices_away: new Set(['building', 30]) })
    expect((await reader.query('totals_home', {})).result).toBe(30)
    await app.settle()
    expect(await storedRows(direct(breakable), schema, 'away')).toEqual(await expectedRows(database, schema))
    for (const name of ['totals_away', 'prices_away']) {
      expect((await app.readModel(name).verify()).differences).toEqual([])
      expect(await app.readModel(name).status()).toMatchObject({ state: 'live', error: undefined })
    }
  }, 60_000)

  test('killed, and back from an older copy of itself: noticed and mended, and no token is answered from before it', async () => {
    const breakable = await broken(breakableRedis())
    const app = await started({ away: breakable.open(), home: undefined })
    await fill(app, 10)
    await app.settle()
    for (let round = 0; round < (isLong ? 10 : 2); round++) {
      await breakable.server.snapshot()
      const id = `k${random(10)}`
      await app.execute('count', { id, by: 0 })
      const { token: first } = await app.execute('count', { id, by: 100 + round })
      const { token } = await app.execute('setPrice', { id, price: 100 + round }, { after: first })
      await app.settle()
      const reader = await started({ away: direct(breakable), home: undefined }, ['queries'])
      const right = { total: 100 + round, events: 1 }
      await waitUntil(async () => (await outcome(reader, 'total_away', { id }, token)) !== 'behind')
      expect((await reader.query('total_away', { id })).result).toEqual(right)
      await breakable.server.kill()
      breakable.proxy.delayMs = 20
      await breakable.server.start()
      const answers: unknown[] = []
      // Without a token too: what this process has seen there it does not take back.
      await waitUntil(async () => {
        answers.push(await outcome(reader, 'total_away', { id }))
        const total = await outcome(reader, 'total_away', { id }, token, 0)
        const price = await outcome(reader, 'price_away', { id }, token, 0)
        answers.push(total)
        expect(typeof price === 'string' || (price as { price: number }).price === 100 + round).toBe(true)
        return typeof total !== 'string' && typeof price !== 'string'
      })
      expect(
        answers.filter((answer) => typeof answer !== 'string').every((answer) => JSON.stringify(answer) === JSON.stringify(right)),
      ).toBe(true)
      breakable.proxy.delayMs = 0
      await app.settle()
      expect(await storedRows(direct(breakable), schema, 'away')).toEqual(await expectedRows(database, schema))
      expect(await statusesOf(app, 'away')).toMatchObject(Array(2).fill({ state: 'live', error: undefined }))
    }
  }, 120_000)
})
