import { aggregate, type Database, type Log, silentLog } from 'headwater'
import { memory } from 'headwater/memory'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { z } from 'zod'
import { projection } from '../../src/projection/projection.ts'
import type { ProjectionWorker } from '../../src/projection/worker.ts'
import type { Store } from '../../src/read-model/store.ts'
import { type ControlledStore, controlled, gate } from '../support/controlled-store.ts'
import { databases } from '../support/databases.ts'
import { account, type Ledger } from '../support/ledger.ts'
import { projectionSuite } from '../support/projection-suite.ts'
import { waitUntil } from '../support/wait.ts'

const target = databases.find(({ name }) => name === 'postgres') as (typeof databases)[number]

/** The account of a later release. */
const renamable = aggregate('account', {
  events: {
    Opened: z.object({ owner: z.string() }),
    Deposited: z.object({ amount: z.int() }),
    Closed: z.object({}),
    Renamed: z.object({}),
  },
  initialState: () => ({}),
  evolve: { Opened: (state) => state, Deposited: (state) => state, Closed: (state) => state, Renamed: (state) => state },
})

function counts(name: string, options: { readonly version?: number; readonly store?: Store; readonly from?: unknown } = {}) {
  const { version = 1, store, from = account } = options
  return projection(name, {
    from: [from as typeof account],
    row: z.object({ n: z.int() }),
    on: { Opened: () => ({ n: 0 }), Deposited: (row) => ({ n: (row?.n ?? 0) + 1 }) },
    version,
    ...(store ? { store } : {}),
  })
}

/** Projections of one release. */
const release = (count: number, options: Parameters<typeof counts>[1] = {}) =>
  Array.from({ length: count }, (_, i) => counts(`m${i}`, options))

/** A store in memory under a name of its own. */
const named = (description: string): ControlledStore => Object.assign(controlled(memory()), { description })

describe.skipIf(target.skip)('who owns what', () => {
  let database: Database
  let schema: string
  let ledger: Ledger
  let log: Log
  const { opened, started, stopped, statusOf, handleOf } = projectionSuite(target, () => ({
    ...ledger,
    runtime: { ...ledger.runtime, log },
  }))

  beforeEach(() => {
    ;({ database, schema, ledger } = opened())
    log = silentLog
  })
  /** What holds a worker up must let go before it is stopped. */
  const doors: ReturnType<typeof gate>[] = []
  afterEach(() => {
    for (const door of doors.splice(0)) door.open()
  })
  const door = () => {
    const made = gate()
    doors.push(made)
    return made
  }

  interface Owned {
    readonly name: string
    readonly version: number
    readonly state: string
    readonly owner: string | null
    readonly position: number
    readonly lease_until: string
  }
  async function owned(version = 1): Promise<readonly Owned[]> {
    const { rows } = await database.query<Owned>(
      `select p.name, p.version, p.state, c.owner, c.position, c.lease_until from "${schema}".checkpoint c join "${schema}".projection p on p.id = c.projection
       where p.version = $1 order by p.name, c.first`,
      [version],
    )
    return rows
  }

  const loads = async (workers: readonly ProjectionWorker[]) => {
    const ranges = await owned()
    return workers.map(({ id }) => ranges.filter(({ owner }) => owner === id).length).sort((a, b) => b - a)
  }

  test('an event that an old process does not know: the new one has the projections from then on, whatever its share', async () => {
    const stops: string[] = []
    log = (level, message) => void (level === 'error' && stops.push(message))
    const old = await started(release(2))
    await ledger.append('a', ['Opened', { owner: 'ann' }])
    await old.settle()
    const fresh = await started(release(2, { from: renamable }))
    await waitUntil(async () => (await loads([old, fresh])).join() === '1,1')
    // One that the new process has taken past the event may go to the old one, which stops it at the next.
    for (let position = 1; (await loads([fresh])).join() !== '2'; ) {
      await ledger.fill([['a', 'Renamed' as 'Closed', {}]])
      position++
      await waitUntil(async () => (await owned()).every((one) => one.state === 'live' && one.owner !== null && one.position === position))
    }
    expect(stops.length).toBeGreaterThan(0)
    for (let i = 0; i < 5; i++) {
      await old.tend()
      await fresh.tend()
      expect(await owned()).toMatchObject([
        { state: 'live', owner: fresh.id },
        { state: 'live', owner: fresh.id },
      ])
    }
    expect(stops.length).toBeLessThan(3)
  })

  test('ranges that only one process can take stay with it, however many processes there are', async () => {
    const old = await started(release(4))
    await ledger.append('a', ['Opened', { owner: 'ann' }])
    await old.settle()
    const fresh = await started(release(4, { version: 2 }))
    await fresh.settle()
    for (let i = 0; i < 5; i++) {
      await old.tend()
      expect((await owned(1)).map(({ owner }) => owner)).toEqual(Array(4).fill(old.id))
      await fresh.tend()
      expect((await owned(2)).map(({ owner }) => owner)).toEqual(Array(4).fill(fresh.id))
    }
  })

  test('4 projections over 3 processes, 6 over 4, and what one leaves goes to the others', async () => {
    const workers: ProjectionWorker[] = []
    for (let i = 0; i < 3; i++) workers.push(await started(release(4)))
    await waitUntil(async () => (await loads(workers)).join() === '2,1,1')
    for (let i = 0; i < 4; i++) workers.push(await started(release(6)))
    for (const one of workers.splice(0, 3)) await stopped(one)
    await waitUntil(async () => (await loads(workers)).join() === '2,2,1,1')
    await stopped(workers.splice(0, 1)[0] as ProjectionWorker)
    await waitUntil(async () => (await loads(workers)).join() === '2,2,2')
  })

  test('a process that joins gets its share while everything is being built', async () => {
    const { passed } = door()
    const building = release(4, { store: Object.assign(named('slow to index'), { index: () => passed }) })
    await ledger.append('a', ['Opened', { owner: 'ann' }])
    const first = await started(building)
    const second = await started(building)
    await waitUntil(async () => (await loads([first, second])).join() === '2,2')
    expect((await owned()).map(({ state }) => state)).toEqual(Array(4).fill('building'))
  })

  test('leases are kept while everything else that a process looks after takes its time', async () => {
    const { passed, arrive, reached } = door()
    let isSlow = false
    const plain = ledger
    const query: Database['query'] = async (...call) => {
      if (isSlow && call[0].includes('seen_at = clock_timestamp()')) {
        arrive()
        await passed
      }
      return (await database.query(...call)) as never
    }
    ledger = { ...plain, runtime: { ...plain.runtime, database: { ...lastingParts(database), query } } }
    await started(release(2))
    isSlow = true
    await reached
    for (let i = 0; i < 2; i++) {
      const before = await owned()
      await waitUntil(async () => (await owned()).every(({ lease_until }, at) => lease_until > (before[at]?.lease_until ?? '')))
    }
  })

  test('how far a version in another store is, is told with each look', async () => {
    const { passed, arrive, reached } = door()
    let isSlow = false
    const plain = ledger
    const query: Database['query'] = async (...call) => {
      if (isSlow && call[0].includes('(id, alive_until')) {
        arrive()
        await passed
      }
      return (await database.query(...call)) as never
    }
    ledger = { ...plain, runtime: { ...plain.runtime, database: { ...lastingParts(database), query } } }
    await (await started(counts('away', { store: controlled(memory()) }))).settle()
    isSlow = true
    // Now nothing tells it but a look.
    await reached
    await ledger.append('a', ['Opened', { owner: 'ann' }])
    await waitUntil(async () => (await owned())[0]?.position === 1)
  })

  test('waiting for projections that nobody folds comes to an end', async () => {
    let now = 0
    const hurried = { now: () => (now += 1000), sleep: ledger.runtime.clock.sleep }
    ledger = { ...ledger, runtime: { ...ledger.runtime, clock: hurried } }
    await ledger.append('a', ['Opened', { owner: 'ann' }])
    const idle = await started(counts('balances'), { fold: false })
    await expect(idle.settle()).rejects.toMatchObject({ code: 'stopped' })
  })

  test('status says who owns which range', async () => {
    const first = await started(counts('balances'))
    await ledger.append('a', ['Opened', { owner: 'ann' }])
    await first.settle()
    await handleOf(first).divide(2)
    const second = await started(counts('balances'))
    await waitUntil(async () => (await loads([first, second])).join() === '1,1')
    const owners = (await statusOf(second))?.owners ?? []
    expect(owners).toMatchObject([
      { first: 0, last: 31, position: 1 },
      { first: 32, last: 63, position: 1 },
    ])
    expect(new Set(owners.map(({ owner }) => owner))).toEqual(new Set([first.id, second.id]))
    await stopped(first)
    await stopped(second)
    expect((await statusOf(second))?.owners?.map(({ owner }) => owner)).toEqual([null, null])
  })

  test('a store that is down when an old version there is to be dropped holds up nothing else, and is dropped from later', async () => {
    const warned: string[] = []
    log = (level, message) => void (level === 'warn' && warned.push(message))
    const store = controlled(memory())
    const first = await started([counts('home'), counts('away', { store })])
    await ledger.append('a', ['Opened', { owner: 'ann' }])
    await first.settle()
    await stopped(first)
    const drop = store.drop
    store.drop = () => Promise.reject(new Error('it is down'))
    const second = await started([counts('home'), counts('away', { store, version: 2 })], { rollbackWindowMs: 0 })
    await second.settle()
    await waitUntil(() => warned.some((message) => message.includes('it is down')))
    await second.settle()
    await handleOf(second, 'home').divide(2)
    await handleOf(second, 'home').pause()
    store.drop = drop
    await waitUntil(async () => (await database.query(`select from "${schema}".projection where name = 'away'`)).rows.length === 1)
  })

  test('a store that does not answer holds up its own read models only, and is asked once', async () => {
    const { passed, arrive, reached } = door()
    const store = controlled(memory())
    const worker = await started([counts('home'), counts('away', { store })])
    await ledger.append('a', ['Opened', { owner: 'ann' }])
    await worker.settle()
    let asked = 0
    store.onApply = async () => {
      asked++
      arrive()
      await passed
      return undefined
    }
    await ledger.append('a', ['Deposited', { amount: 1 }])
    await reached
    const set = (state: string) => database.query(`update "${schema}".projection set state = $1 where name = 'away'`, [state])
    await set('paused')
    await worker.tend()
    await set('live')
    await worker.tend()
    await worker.tend()
    await ledger.append('a', ['Deposited', { amount: 1 }])
    await waitUntil(async () => (await owned()).some(({ name, position }) => name === 'home' && position === 3))
    expect(asked).toBe(1)
    store.onApply = undefined
    for (const one of doors) one.open()
    await worker.settle()
    expect(store.written.at(-1)?.to.position).toBe(3)
  })

  test('a version that stays behind in another store is dropped there, by a process that knows it', async () => {
    const warned: string[] = []
    log = (level, message) => void (level === 'warn' && message.includes('store X') && warned.push(message))
    const x = named('store X')
    const y = named('store Y')
    const dropped: string[] = []
    for (const store of [x, y]) store.drop = async ({ name, version }) => void dropped.push(`${store.description}: ${name} ${version}`)
    const first = await started(counts('moved', { store: x }))
    await ledger.append('a', ['Opened', { owner: 'ann' }])
    await first.settle()
    await stopped(first)
    const second = await started(counts('moved', { store: y, version: 2 }), { rollbackWindowMs: 0 })
    await second.settle()
    for (let i = 0; i < 3; i++) await second.tend()
    expect(dropped).toEqual([])
    expect(warned).toHaveLength(1)
    expect(await owned(1)).toHaveLength(1)
    await started([counts('moved', { store: y, version: 2 }), counts('beside', { store: x })], { rollbackWindowMs: 0 })
    await waitUntil(async () => (await owned(1)).every(({ name }) => name !== 'moved'))
    expect(dropped).toEqual(['store X: moved 1'])
  })
})

/** All of a database but its statements. */
function lastingParts(database: Database): Omit<Database, 'query'> {
  return { traits: database.traits, transaction: database.transaction.bind(database), close: async () => undefined }
}
