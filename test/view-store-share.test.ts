import { randomUUID } from 'node:crypto'
import { type Database, type Headwater, headwater, materializedView, type Store, silentLog, type as typeOf } from 'headwater'
import { memory } from 'headwater/memory'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { systemClock } from '../src/internal/clock.ts'
import { StoreShare } from '../src/materialized-view/store-share.ts'
import { controlled } from './support/controlled-store.ts'
import { databases, freshSchema, lasting } from './support/databases.ts'

const server = databases.find(({ name }) => name === 'postgres')
const names = ['one', 'two', 'three', 'four']
const patience = { timeout: 60_000 }

describe.skipIf(server?.skip)('views in stores and the processes that work on them', () => {
  let database: Database
  let schema: string
  const apps: Headwater[] = []

  beforeEach(async () => {
    if (!server) throw new Error('no server')
    database = await server.open()
    schema = freshSchema()
    await database.query('create table items (id int primary key, n int); insert into items select i, 0 from generate_series(1, 20) i')
  })

  afterEach(async () => {
    for (const app of apps.splice(0)) await app.stop()
    await database.query(`drop schema if exists "${schema}" cascade`)
    await database.close()
  })

  async function started(inner: Store) {
    const store = controlled(inner)
    const views = names.map((name) =>
      materializedView(name, {
        row: typeOf<{ id: number; n: number }>(),
        key: 'id',
        select: 'select id, n from items',
        changedBy: { items: 'id' },
        store,
      }),
    )
    const readModels = Object.fromEntries(views.map((view) => [view.readModelName, view]))
    const app = headwater({ database: lasting(database), schema, log: silentLog, pollIntervalMs: 10, readModels })
    apps.push(app as unknown as Headwater)
    await app.start()
    return { app, store }
  }

  /** Which owner each view has. */
  const owners = async () =>
    (
      await database.query<{ owner: string | null }>(
        `select case when lease_until > clock_timestamp() then owner end as owner from "${schema}".view_store order by view`,
      )
    ).rows.map(({ owner }) => owner)

  /** How many views each process has, least first. */
  const counts = async () => {
    const found = new Map<string | null, number>()
    for (const owner of await owners()) found.set(owner, (found.get(owner) ?? 0) + 1)
    return found.has(null) ? [] : [...found.values()].sort()
  }

  test('are spread evenly, and go to others at once when their owner stops', { timeout: 180_000 }, async () => {
    const inner = memory()
    const first = await started(inner)
    await first.app.settle()
    await expect.poll(counts, patience).toEqual([4])
    const second = await started(inner)
    await expect.poll(counts, patience).toEqual([2, 2])
    const written = [first.store.written.length, second.store.written.length]
    await expect
      .poll(async () => {
        await database.query('update items set n = n + 1')
        await first.app.settle()
        return [first, second].every(({ store }, i) => store.written.length > (written[i] ?? 0) + 10)
      }, patience)
      .toBe(true)
    await first.app.stop()
    expect((await database.query(`select from "${schema}".view_worker`)).rows).toHaveLength(1)
    await expect.poll(counts, patience).toEqual([4])
    await database.query('update items set n = -1')
    await second.app.settle()
    for (const name of names) expect((await second.app.readModel(name).verify()).differences).toEqual([])
  })

  test('stay with their owner while it works, until another process has two fewer', { timeout: 120_000 }, async () => {
    const { app } = await started(memory())
    await app.settle()
    await app.stop()
    const runtime = { database, schema, clock: systemClock, log: silentLog }
    const ids = (await database.query<{ id: number }>(`select id from "${schema}".view order by id`)).rows.map(({ id }) => id)
    // A machine that is busy with other things must not end a lease.
    const hold = () =>
      database.query(
        `with w as (update "${schema}".view_worker set alive_until = 'infinity') update "${schema}".view_store set lease_until = 'infinity' where owner is not null`,
      )
    const [a, b] = [randomUUID(), randomUUID()].map((id) => new StoreShare(runtime, id))
    if (!a || !b) throw new Error('no shares')
    const looks = async (share: StoreShare) => {
      await share.look(ids, ids, ids)
      await hold()
      return ids.filter((id) => share.has(id)).length
    }
    expect(await looks(a)).toBe(4)
    expect(await looks(b)).toBe(0)
    expect([await looks(a), await looks(b)]).toEqual([3, 1])
    expect([await looks(a), await looks(b)]).toEqual([2, 2])
    const before = ids.filter((id) => a.has(id))
    for (let i = 0; i < 3; i++) expect([await looks(a), await looks(b)]).toEqual([2, 2])
    expect(ids.filter((id) => a.has(id))).toEqual(before)
    // Its own batch leaves a view with its owner, and one that is at work takes nothing.
    const state = `select reached, batch_id as id from "${schema}".view_store where view = $1`
    const { rows } = await database.query<{ reached: number; id: string }>(state, [before[0]])
    await database.query(`update "${schema}".view_store set intended = '{next}' where view = $1`, [before[0]])
    await database.query(`select "${schema}".store_written($1, $2, $3, $2, 'next', false, '{}', '{}', '{}', '{}', '{}', '{}')`, [
      ...[before[0], rows[0]?.reached, rows[0]?.id],
    ])
    expect(await looks(b)).toBe(2)
    expect(await looks(a)).toBe(2)
    await a.end()
    await b.look(ids, [], [])
    expect(ids.filter((id) => b.has(id))).toHaveLength(2)
    expect(await looks(b)).toBe(4)
  })

  test('are left to another process by one whose store fails', { timeout: 120_000 }, async () => {
    const inner = memory()
    const first = await started(inner)
    await first.app.settle()
    first.store.isDown = true
    const second = await started(inner)
    await database.query('update items set n = 7')
    await second.app.settle()
    for (const name of names) expect((await second.app.readModel(name).verify()).differences).toEqual([])
    await expect.poll(counts, patience).toEqual([4])
  })

  test('are taken over from a process that says nothing any more', { timeout: 120_000 }, async () => {
    const inner = memory()
    const first = await started(inner)
    await first.app.settle()
    await first.app.stop()
    // As one leaves it that was killed.
    await database.query(
      `update "${schema}".view_store set owner = gen_random_uuid(), lease_until = clock_timestamp() + interval '3 seconds'`,
    )
    await database.query(
      `insert into "${schema}".view_worker select owner, array(select id from "${schema}".view), lease_until from "${schema}".view_store limit 1`,
    )
    const second = await started(inner)
    await database.query('update items set n = 7')
    await second.app.settle()
    expect(second.store.written.length).toBeGreaterThanOrEqual(4)
  })
})
