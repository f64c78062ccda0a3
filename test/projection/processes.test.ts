import type { Database } from 'headwater'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { readGeneration } from '../../src/app/generation.ts'
import { migrate } from '../../src/database/migrate.ts'
import { type Child, startChild } from '../support/child.ts'
import { databases, freshSchema, postgresUrl } from '../support/databases.ts'
import { seed } from '../support/seed.ts'

const server = databases.find(({ name }) => name === 'postgres')

interface StoredEvent {
  readonly position: number
  readonly stream: string
  readonly version: number
  readonly type: string
  readonly data: { readonly owner: string; readonly amount: number; readonly to: string }
}

/** What the read models must hold, by nothing but the words of their definitions. */
function expected(events: readonly StoredEvent[], version: number) {
  const balances = new Map<string, { owner: string; balance: number; seen: number[] }>()
  const moves = new Map<string, { count: number; last: string }>()
  for (const { stream: stored, type, data } of events) {
    const stream = stored.slice('account-'.length)
    const row = balances.get(stream)
    if (type === 'Opened') balances.set(stream, { owner: `${data.owner}${version}`, balance: 0, seen: [stream.length] })
    if (type === 'Closed') balances.delete(stream)
    if (type !== 'Moved') continue
    if (row) balances.set(stream, { ...row, balance: row.balance + data.amount, seen: [...row.seen, data.amount].slice(-20) })
    for (const key of new Set([data.to, 'all'])) moves.set(key, { count: (moves.get(key)?.count ?? 0) + 1, last: stream })
  }
  return { balances: Object.fromEntries(balances), moves: Object.fromEntries(moves), now_balances: Object.fromEntries(balances) }
}

describe.skipIf(server?.skip)(`projections in several processes, seed ${seed}`, () => {
  let database: Database
  let schema: string
  let generation: string
  const children = new Set<Child>()

  beforeEach(async () => {
    if (!server) throw new Error('no server')
    schema = freshSchema()
    database = await server.open()
    await migrate(database, schema)
    generation = (await readGeneration(database, schema)).id
  })

  afterEach(async () => {
    for (const child of children) child.process.kill('SIGKILL')
    await Promise.all([...children].map((child) => child.exited()))
    children.clear()
    await database.query(`drop schema if exists "${schema}" cascade`)
    await database.close()
  })

  let random = seed
  const next = (below: number) => {
    random = (Math.imul(random, 1103515245) + 12345) & 0x7fffffff
    return (random >>> 8) % below
  }

  function start(name: string, argument: Readonly<Record<string, unknown>> = {}): Child {
    const child = startChild(name, { url: postgresUrl, schema, generation, version: 1, ...argument })
    children.add(child)
    return child
  }

  async function stored(version: number) {
    const read = async (name: string) => {
      const { rows } = await database.query<{ key: string; row: unknown }>(`select key, row from "${schema}"."${name}_v${version}"`)
      return Object.fromEntries(rows.map(({ key, row }) => [key, row]))
    }
    return { balances: await read('balances'), moves: await read('moves'), now_balances: await read('now_balances') }
  }

  /** Until every version stands at the head and is live. */
  async function settled(version: number): Promise<void> {
    for (;;) {
      const { rows } = await database.query<{ behind: number; stopped: number }>(
        `select (select count(*) from "${schema}".projection p left join "${schema}".checkpoint c on c.projection = p.id
                 where p.version = $1 and (p.state <> 'live' or c.position < (select max(position) from "${schema}".event))) as behind,
           (select count(*) from "${schema}".projection where state = 'stopped') as stopped`,
        [version],
      )
      if (rows[0]?.stopped) throw new Error(JSON.stringify((await database.query(`select name, error from "${schema}".projection`)).rows))
      if (rows[0]?.behind === 0) return
      await new Promise((resolve) => setTimeout(resolve, 50))
    }
  }

  /** Until processes that live have taken over what the dead left: they alone prolong a lease. */
  async function allOwned(): Promise<void> {
    const { rows: now } = await database.query<{ at: string }>('select clock_timestamp() as at')
    for (;;) {
      const { rows } = await database.query<{ left: number }>(
        `select count(*)::int as left from "${schema}".checkpoint where owner is null or lease_until <= $1::timestamptz + interval '3 s'`,
        [now[0]?.at],
      )
      if (rows[0]?.left === 0) return
      await new Promise((resolve) => setTimeout(resolve, 50))
    }
  }

  async function check(version: number): Promise<void> {
    const { rows } = await database.query<StoredEvent>(
      `select position, stream, version, type, data from "${schema}".event order by position`,
    )
    expect(await stored(version)).toEqual(expected(rows, version))
    expect((await database.query(`select * from "${schema}".parked_key`)).rows).toEqual([])
  }

  const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms))

  test('killed, cut off and put to sleep at random while others write: every row is the fold of its log', async () => {
    const workers = [start('projection-worker'), start('projection-worker'), start('projection-worker')]
    await Promise.all(workers.map((worker) => worker.line()))
    const writers = [1, 2].map((i) => start('projection-writer', { seed: seed + i, rounds: 150 }))
    let writing = true
    const written = Promise.all(writers.map((writer) => writer.exited())).finally(() => {
      writing = false
    })
    let kills = 0
    while (writing) {
      const at = next(workers.length)
      const victim = workers[at]
      await Promise.race([written, pause(next(150))])
      const dice = next(4)
      if (dice === 0) {
        await database.query(
          `select pg_terminate_backend(pid) from pg_stat_activity where pid <> pg_backend_pid() and query like '%"${schema}".checkpoint%' limit 1`,
        )
      } else if (dice === 1) {
        victim?.process.kill('SIGSTOP')
        await pause(next(100))
        victim?.process.kill('SIGCONT')
      } else {
        victim?.process.kill('SIGKILL')
        kills++
        const fresh = start('projection-worker')
        workers[at] = fresh
        await fresh.line()
      }
    }
    expect(await written).toEqual([0, 0])
    expect(kills).toBeGreaterThan(1)
    await settled(1)
    await check(1)
    await allOwned()
    for (const worker of workers) worker.process.kill('SIGTERM')
    expect(await Promise.all(workers.map((worker) => worker.exited()))).toEqual([0, 0, 0])
    expect((await database.query(`select count(*)::int as owned from "${schema}".checkpoint where owner is not null`)).rows).toEqual([
      { owned: 0 },
    ])
  }, 120_000)

  test('an owner that slept past its lease writes nothing when it wakes', async () => {
    const sleeper = start('projection-worker')
    await sleeper.line()
    const first = start('projection-writer', { seed, rounds: 10 })
    expect(await first.exited()).toBe(0)
    await settled(1)
    sleeper.process.kill('SIGSTOP')
    const other = start('projection-worker')
    await other.line()
    const second = start('projection-writer', { seed: seed + 7, rounds: 20 })
    expect(await second.exited()).toBe(0)
    await settled(1)
    sleeper.process.kill('SIGCONT')
    const third = start('projection-writer', { seed: seed + 8, rounds: 20 })
    expect(await third.exited()).toBe(0)
    await settled(1)
    await check(1)
  }, 120_000)

  test('a new version is built by one process while others write and fold the old one', async () => {
    const old = start('projection-worker')
    await old.line()
    const before = start('projection-writer', { seed, rounds: 30 })
    expect(await before.exited()).toBe(0)
    const writers = [1, 2].map((i) => start('projection-writer', { seed: seed + i, rounds: 60, version: 1 + (i % 2) }))
    const builder = start('projection-worker', { version: 2 })
    await builder.line()
    builder.process.kill('SIGKILL')
    const again = start('projection-worker', { version: 2 })
    expect(await Promise.all(writers.map((writer) => writer.exited()))).toEqual([0, 0])
    await again.line()
    await settled(2)
    await check(2)
    const { rows } = await database.query(`select distinct state from "${schema}".projection where version = 1`)
    expect(rows).toEqual([{ state: 'previous' }])
  }, 120_000)
})
