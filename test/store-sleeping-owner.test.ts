import type { Database, Store } from 'headwater'
import { memory } from 'headwater/memory'
import { beforeEach, describe, expect, test } from 'vitest'
import { counterSuite, server } from './support/counter-suite.ts'
import { askOwnWrites, expectedRows, storedRows } from './support/counters.ts'
import { isLong, type Random, seed, seeded } from './support/seed.ts'
import { pause } from './support/wait.ts'

describe.skipIf(server?.skip)(`stores whose owner sleeps, seed ${seed}`, () => {
  let database: Database
  let schema: string
  let random: Random
  const { opened, apps, started, fill } = counterSuite()

  beforeEach(() => {
    ;({ database, schema } = opened())
    random = seeded(seed)
  })

  test('an owner that sleeps past its lease, in memory: what it wakes with counts nothing', async () => {
    const inner = memory()
    const bed = sleeper()
    const sleeping = await started({ away: bed.store(inner), home: undefined }, undefined, bed.database(database))
    await fill(sleeping, 5)
    await sleeping.settle()
    const writer = await started({ away: inner, home: undefined }, ['commands', 'queries'])
    for (let round = 0; round < (isLong ? 10 : 2); round++) {
      const clients = askOwnWrites(writer, { places: ['home', 'away'], client: `c${round}`, random, until: (at) => at >= 30 })
      await pause(random(60))
      bed.sleep()
      const other = await started({ away: inner, home: undefined })
      const { wrong, answered } = await clients
      await other.settle()
      expect(wrong).toEqual([])
      expect(answered).toBeGreaterThan(0)
      expect(await storedRows(inner, schema, 'away')).toEqual(await expectedRows(database, schema))
      bed.wake()
      await askOwnWrites(writer, { places: [], client: `d${round}`, random, until: (at) => at >= 10 })
      await other.settle()
      expect(await storedRows(inner, schema, 'away')).toEqual(await expectedRows(database, schema))
      await other.stop()
      apps.splice(apps.indexOf(other), 1)
    }
  }, 120_000)
})

/** A process that can be put to sleep: nothing it asks a database or a store for goes out before it wakes. */
function sleeper() {
  let asleep: Promise<void> | undefined
  let wake = () => {}
  const up = async <T>(work: () => Promise<T>): Promise<T> => {
    await asleep
    return await work()
  }
  return {
    sleep() {
      asleep = new Promise((resolve) => {
        wake = resolve
      })
    },
    wake() {
      asleep = undefined
      wake()
    },
    database: (inner: Database): Database => ({
      traits: inner.traits,
      query: (...call) => up(() => inner.query(...call)) as never,
      transaction: (...call) => up(() => inner.transaction(...call)),
      close: async () => undefined,
    }),
    store: (inner: Store): Store => ({
      description: inner.description,
      load: (...call) => up(() => inner.load(...call)),
      range: (...call) => up(() => inner.range(...call)),
      apply: (...call) => up(() => inner.apply(...call)),
      drop: (...call) => up(() => inner.drop(...call)),
      checkpoints: (model) => up(async () => (await inner.checkpoints?.(model)) ?? []),
    }),
  }
}
