import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { setTimeout as pause } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { type Database, silentLog, systemClock, type } from 'headwater'
import { postgres } from 'headwater/postgres'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { migrate } from '../src/database/migrate.ts'
import type { EventSource } from '../src/message/event.ts'
import { reaction } from '../src/reaction/reaction.ts'
import type { ReactionRuntime } from '../src/reaction/reaction-runtime.ts'
import { ReactionWorker } from '../src/reaction/reaction-worker.ts'
import { databases, freshSchema, postgresUrl } from './support/databases.ts'
import { type TableLog, tableLog } from './support/table-log.ts'

const skip = databases.find(({ name }) => name === 'postgres')?.skip ?? false
const childFile = fileURLToPath(new URL('./support/reaction-child.mjs', import.meta.url))
const schemas = { Happened: type<{ readonly note: string }>() }
const thing: EventSource<'thing', typeof schemas> = { aggregateName: 'thing', schemas, '~read': (event) => event }

/** The same numbers every time. */
function seeded(seed: number): () => number {
  let state = seed
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    return state / 2 ** 32
  }
}

describe.skipIf(skip)('reactions under faults', { timeout: 60_000 }, () => {
  let database: Database
  let log: TableLog
  let schema: string
  let own: string
  const children = new Set<ChildProcess>()
  const workers: ReactionWorker[] = []
  const echo = reaction('echo', {
    from: [thing],
    on: { Happened: ({ data }) => [0, 1].map((n) => ({ command: 'write', input: { text: `${data.note}.${n}` } })) },
  })

  beforeEach(async () => {
    database = postgres(postgresUrl, { poolSize: 10 })
    schema = freshSchema('headwater')
    own = freshSchema('own')
    await migrate(database, schema)
    await database.query(
      `create schema ${own}; create table ${own}.effect (id serial primary key, key text not null unique, text text not null, tries integer not null default 1)`,
    )
    log = await tableLog(database)
  })
  afterEach(async () => {
    await Promise.all(workers.splice(0).map((worker) => worker.stop()))
    await Promise.all([...children].map((child) => kill(child)))
    await database.close()
  })

  async function start(): Promise<ChildProcess> {
    const child = fork(childFile, [postgresUrl, schema, log.table, own])
    children.add(child)
    await once(child, 'message')
    return child
  }

  async function kill(child: ChildProcess, signal: NodeJS.Signals = 'SIGKILL'): Promise<void> {
    children.delete(child)
    if (child.exitCode !== null || child.signalCode !== null) return
    const ended = once(child, 'exit')
    child.kill(signal)
    await ended
  }

  function runtime(over: Partial<ReactionRuntime> = {}): ReactionRuntime {
    const eventLog = {
      ...log,
      append: async () => Promise.reject(new Error('not here')),
      readStream: async () => ({ events: [], version: 0 }),
      readState: async () => ({ events: [], version: 0 }),
    }
    return { database, schema, clock: systemClock, log: silentLog, eventLog, send, ...over }
  }

  const send: ReactionRuntime['send'] = async ({ input }, { idempotencyKey }) => {
    await database.query(`insert into ${own}.effect (key, text) values ($1, $2) on conflict (key) do update set tries = effect.tries + 1`, [
      idempotencyKey,
      (input as { text: string }).text,
    ])
  }
  async function run(over: Partial<ReactionRuntime> = {}): Promise<ReactionWorker> {
    const worker = new ReactionWorker(runtime(over), [echo], { pollIntervalMs: 5, retryMs: 1 })
    workers.push(worker)
    await worker.start()
    return worker
  }
  const happen = (stream: string, note: string) => log.happen({ type: 'Happened', stream, data: { note } })
  const effects = async () =>
    (await database.query<{ text: string; tries: number; key: string }>(`select text, tries, key from ${own}.effect order by id`)).rows
  const left = async () => (await database.query(`select id from "${schema}".reaction_task`)).rows.length

  /** Every event had its two effects, once, and those of a stream came in order. */
  async function expectAll(notes: ReadonlyMap<string, readonly string[]>): Promise<void> {
    const texts = (await effects()).map(({ text }) => text)
    for (const [stream, list] of notes) {
      expect(texts.filter((text) => text.startsWith(`${stream}/`))).toEqual(list.flatMap((note) => [`${note}.0`, `${note}.1`]))
    }
    expect(await left()).toBe(0)
  }

  test('two processes killed with kill -9 again and again: each command once, in order', async () => {
    const random = seeded(20261)
    // Registered before anything happens.
    await (await run()).stop()
    const notes = new Map<string, string[]>()
    let writing = true
    const writer = (async () => {
      for (let n = 0; writing; n++) {
        const stream = `s${Math.floor(random() * 6)}`
        notes.set(stream, [...(notes.get(stream) ?? []), `${stream}/${n}`])
        await happen(stream, `${stream}/${n}`)
      }
    })()
    const running = [await start(), await start()]
    for (let kills = 0; kills < 8; kills++) {
      await pause(random() * 120)
      const at = Math.floor(random() * running.length)
      await kill(running[at] as ChildProcess)
      // A dead process gives nothing back: without this every takeover would wait three seconds for the end of its lease.
      await database.query(`update "${schema}".reaction set lease_until = clock_timestamp()`)
      running[at] = await start()
    }
    writing = false
    await writer
    const last = await run()
    await last.settle()
    await Promise.all(running.map((child) => kill(child)))
    await database.query(`update "${schema}".reaction set lease_until = clock_timestamp()`)
    await last.settle()
    expect([...notes.values()].flat().length).toBeGreaterThan(20)
    await expectAll(notes)
  })

  test('a process that dies between a command and the deletion of its task leaves it to the next, which is answered from the record', async () => {
    let dead = false
    // The database is gone for the first worker the moment its first command was carried out.
    const dying: Database = {
      ...database,
      query: async (...call) => (dead ? Promise.reject(new Error('dead')) : database.query(...call)) as never,
    }
    const first = await run({
      database: dying,
      send: async (...call) => {
        if (dead) throw new Error('dead')
        await send(...call)
        dead = true
      },
    })
    await happen('a', 'a/1')
    while (!dead) await pause(5)
    await first.stop()
    expect([(await effects()).map(({ text }) => text), await left()]).toEqual([['a/1.0'], 2])
    await database.query(`update "${schema}".reaction set lease_until = clock_timestamp()`)
    await (await run()).settle()
    expect((await effects()).map(({ text, tries }) => [text, tries])).toEqual([
      ['a/1.0', 2],
      ['a/1.1', 1],
    ])
    expect(await left()).toBe(0)
  })

  test('two that both think they hold the lease: each event becomes tasks once, each command takes effect once, in order', async () => {
    const [one, two] = [await run(), await run()]
    const thieving = new AbortController()
    const thief = (async () => {
      while (!thieving.signal.aborted) {
        await database.query(`update "${schema}".reaction set owner = null, lease_until = null`)
        await pause(5)
      }
    })()
    const notes = new Map<string, string[]>()
    for (let n = 0; n < 40; n++) {
      const stream = `s${n % 3}`
      notes.set(stream, [...(notes.get(stream) ?? []), `${stream}/${n}`])
      await happen(stream, `${stream}/${n}`)
    }
    await Promise.all([one.settle(), two.settle()])
    thieving.abort()
    await thief
    await expectAll(notes)
  })

  test('one that stood still past its lease begins nothing more from what it had in hand', async () => {
    let [now, sent] = [Date.now(), 0]
    const clock = { now: () => now, sleep: systemClock.sleep }
    const worker = await run({
      clock,
      send: async (...call) => {
        sent++
        await send(...call)
        now += 60_000
      },
    })
    await log.happen(...['1', '2', '3'].map((n) => ({ type: 'Happened', stream: 'a', data: { note: `a/${n}` } })))
    while (sent === 0) await pause(5)
    await worker.stop()
    expect(sent).toBe(1)
  })

  test('gives its lease back when it stops', async () => {
    const first = await run()
    await happen('a', 'a/1')
    await first.settle()
    await first.stop()
    const { rows } = await database.query(`select owner, lease_until from "${schema}".reaction`)
    expect(rows).toEqual([{ owner: null, lease_until: null }])
  })
})
