import type { Event } from 'headwater'
import { systemClock } from 'headwater'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { z } from 'zod'
import { memory } from '../../src/adapters/memory/memory.ts'
import type { EventLog } from '../../src/log/log.ts'
import { Feed, type Subscriber } from '../../src/projection/feed.ts'
import { projection } from '../../src/projection/projection.ts'
import type { Projection } from '../../src/projection/projection-definition.ts'
import { ProjectionWorker } from '../../src/projection/worker.ts'
import type { Store } from '../../src/read-model/store.ts'
import { databases, freshSchema } from '../support/databases.ts'
import { account, type Ledger, openLedger } from '../support/ledger.ts'

function counts(name: string, options: { store?: Store; slow?: () => void } = {}) {
  return projection(name, {
    from: [account],
    row: z.object({ n: z.int() }),
    key: ({ stream }) => stream,
    on: {
      Opened: () => ({ n: 0 }),
      Deposited: (row, { data }) => {
        options.slow?.()
        return { n: (row?.n ?? 0) + data.amount }
      },
    },
    ...(options.store ? { store: options.store } : {}),
  })
}

const target = databases[1]?.skip ? databases[0] : databases[1]

describe('reading the log once for many', () => {
  let ledger: Ledger
  const workers: ProjectionWorker[] = []

  beforeAll(async () => {
    if (!target) throw new Error('no database')
    ledger = await openLedger(await target.open(), freshSchema(), { onAppended: () => workers[0]?.wake() })
  })

  afterEach(async () => {
    for (const worker of workers.splice(0)) await worker.stop()
    const { database, schema } = ledger.runtime
    for (const name of ['broken', 'well', 'slow', 'down'])
      await database.query(`delete from "${schema}".read_model where name = $1`, [name])
    for (const name of ['broken', 'well']) await database.query(`drop table if exists "${schema}".${name}_v1 cascade`)
    await database.query(`delete from "${schema}".event`)
  })

  afterAll(async () => {
    await ledger.runtime.database.query(`drop schema if exists "${ledger.runtime.schema}" cascade`)
  })

  async function started(eventLog: EventLog, ...projections: readonly unknown[]): Promise<ProjectionWorker> {
    const worker = new ProjectionWorker(
      { ...ledger.runtime, eventLog },
      { projections: projections as Projection[], pollIntervalMs: 5, rollbackWindowMs: 86_400_000 },
    )
    workers.push(worker)
    await worker.start()
    return worker
  }

  /** A log that gives what it should not, from a position on. */
  function twisted(twist: (events: readonly Event[]) => readonly Event[], from: number): EventLog {
    const { eventLog } = ledger
    return {
      append: eventLog.append.bind(eventLog),
      readStream: eventLog.readStream.bind(eventLog),
      readState: eventLog.readState.bind(eventLog),
      head: eventLog.head.bind(eventLog),
      read: async (options) => {
        const events = await eventLog.read(options)
        return options.limit > 1 && events.some(({ position }) => position > from) ? twist(events) : events
      },
    }
  }

  for (const [what, twist, found, folded] of [
    ['a hole', (events) => events.filter(({ position }) => position !== 5), /position 6 where 5 follows: a hole/, 4],
    [
      'a swapped pair',
      (events) => events.toSorted((a, b) => (a.position === 5 ? 6.5 : a.position) - (b.position === 5 ? 6.5 : b.position)),
      /position 6 where 5 follows: a hole/,
      4,
    ],
    [
      'a repeated event',
      (events) => events.flatMap((event) => (event.position === 5 ? [event, event] : [event])),
      /position 5 where 6 follows: an event again/,
      5,
    ],
  ] as const satisfies readonly (readonly [string, (events: readonly Event[]) => readonly Event[], RegExp, number])[]) {
    for (const live of [true, false]) {
      test(`${what}, ${live ? 'at the head' : 'while it catches up'}: it stops and says where, after all that was in order`, async () => {
        if (!live) for (let i = 0; i < 8; i++) await ledger.append('a', ['Deposited', { amount: 1 }])
        else await ledger.append('a', ['Deposited', { amount: 1 }], ['Deposited', { amount: 1 }])
        const worker = await started(twisted(twist, 2), counts('broken'))
        await worker.settle()
        if (live) {
          await ledger.append('a', ...Array.from({ length: 6 }, () => ['Deposited', { amount: 1 }] as const))
          await worker.settle()
        }
        expect(worker.versions[0]).toMatchObject({ state: 'stopped', errorCode: 'log_mismatch', error: expect.stringMatching(found) })
        expect(await ledger.rows('broken_v1')).toEqual({ a: { n: folded } })
      })
    }
  }

  test('a store that is slow, and one that is down, hold nobody else back, and catch up when they can', async () => {
    let open = () => {}
    const gate = new Promise<void>((resolve) => {
      open = resolve
    })
    let down = true
    const { apply: applySlow, ...slow } = bound(memory(), 'a slow store')
    const { apply: applyDown, ...broken } = bound(memory(), 'a store that is down')
    const slowStore: Store = {
      ...slow,
      apply: async (model, batch) => {
        if (batch.rows.length > 0) await gate
        return await applySlow(model, batch)
      },
    }
    const downStore: Store = {
      ...broken,
      apply: async (model, batch) => {
        if (down && batch.rows.length > 0) throw new Error('no connection')
        return await applyDown(model, batch)
      },
    }
    const well = counts('well')
    const worker = await started(ledger.eventLog, counts('slow', { store: slowStore }), counts('down', { store: downStore }), well)
    for (let i = 0; i < 20; i++) await ledger.append(`s${i}`, ['Deposited', { amount: i }])
    const id = (name: string) => worker.versions.find((version) => version.name === name)?.id ?? 0
    while (worker.position(id('well')) < 20) await worker.progress.wait(systemClock, 10)
    expect(Object.keys(await ledger.rows('well_v1'))).toHaveLength(20)
    while (worker.trouble(id('down')) === undefined) await worker.progress.wait(systemClock, 10)
    expect(worker.trouble(id('down'))).toBe('no connection')
    expect(worker.versions.map(({ name, state }) => [name, state === 'stopped'])).toEqual([
      ['down', false],
      ['slow', false],
      ['well', false],
    ])
    down = false
    open()
    await worker.settle()
    for (const [name, store] of [
      ['slow', slowStore],
      ['down', downStore],
    ] as const) {
      const own = worker.own.find(({ version }) => version.name === name)
      const { rows } = await store.range(own?.model as never, { index: undefined, from: '', to: '\u{10ffff}', reverse: false, limit: 100 })
      expect(rows.map(({ row }) => (JSON.parse(row) as { n: number }).n).toSorted((a, b) => a - b)).toEqual(
        Array.from({ length: 20 }, (_, i) => i),
      )
    }
  })

  test('whoever falls far behind leaves, and the feed goes on for the others', async () => {
    const log: EventLog = {
      ...ledger.eventLog,
      read: async ({ after, limit }) => made(after, Math.min(limit, 20_000 - after)),
      append: never,
      readStream: never,
      readState: never,
      head: never,
    }
    const feed = new Feed({ eventLog: log, clock: systemClock, pollIntervalMs: 1, onError: () => undefined })
    const taker = (patience: number) => {
      const got: number[] = []
      let waiting = 0
      const subscriber: Subscriber & { got: number[]; left: boolean } = {
        got,
        left: false,
        get waiting() {
          return waiting
        },
        offer(events) {
          waiting += events.length
          got.push(...events.map(({ position }) => position))
          if (patience > 0) queueMicrotask(() => (waiting = 0))
          else if (waiting > 3000) {
            feed.leave(subscriber)
            subscriber.left = true
          }
        },
      }
      return subscriber
    }
    const [quick, lazy] = [taker(1), taker(0)]
    expect(feed.join(quick, 0)).toBe(0)
    expect(feed.join(lazy, 0)).toBe(0)
    while (quick.got.length < 20_000) await new Promise((resolve) => setImmediate(resolve))
    expect(quick.got).toEqual(Array.from({ length: 20_000 }, (_, i) => i + 1))
    expect(lazy.left).toBe(true)
    expect(lazy.got.length).toBeLessThan(6000)
    expect(feed.join(lazy, lazy.got.length)).toBeUndefined()
    await feed.stop()
  })
})

function bound(store: Store, description: string): Store {
  return {
    description,
    load: store.load.bind(store),
    range: store.range.bind(store),
    apply: store.apply.bind(store),
    drop: store.drop.bind(store),
  }
}

function made(after: number, count: number): readonly Event[] {
  return Array.from({ length: Math.max(0, count) }, (_, i) => ({ position: after + i + 1 }) as Event)
}

function never(): never {
  throw new Error('not asked for')
}
