import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { command, type Database, DatabaseUnavailableError, OutcomeUnknownError, reject, type } from 'headwater'
import { postgres } from 'headwater/postgres'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import type { CommandOutcome } from '../src/command/command-outcome.ts'
import type { CommandRuntime } from '../src/command/command-runtime.ts'
import { executeCommand } from '../src/command/execute-command.ts'
import { executeMany } from '../src/command/execute-many.ts'
import { sweepCommands } from '../src/command/sweep-commands.ts'
import { type CommandPlace, commandPlace } from './support/command-table.ts'
import { databases, postgresUrl as serverUrl } from './support/databases.ts'
import { isCommit, TcpProxy, type Verdict } from './support/tcp-proxy.ts'

const skip = databases.find(({ name }) => name === 'postgres')?.skip ?? false

describe.skipIf(skip)('commands under faults', () => {
  let place: CommandPlace
  let keys = 0
  const freshKey = () => `key-${++keys}`

  beforeAll(async () => {
    place = await commandPlace(postgres(serverUrl, { poolSize: 20 }))
    await place.database.query(`insert into ${place.own}.note (text) values ('counter'), ('a'), ('b')`)
  })
  afterAll(async () => {
    await place.database.close()
  })

  /** How often the command with this text took effect. */
  async function effects(text: string): Promise<number> {
    const { rows } = await place.database.query<{ n: number }>(`select count(*) as n from ${place.own}.effect where text = $1`, [text])
    return rows[0]?.n ?? 0
  }

  const write = command('write', {
    input: type<{ readonly text: string }>(),
    execute: async ({ text }, { client }) => {
      await client.query(`insert into ${place.own}.effect (text) values ($1)`, [text])
      return { wrote: text }
    },
  })

  beforeAll(async () => {
    await place.database.query(`create table ${place.own}.effect (text text not null)`)
  })

  describe('at once', () => {
    test('50 calls with one key: one effect, 50 equal answers, one of them no replay', async () => {
      const text = freshKey()
      const calls = Array.from({ length: 50 }, () => executeCommand(place, write, { text }, { idempotencyKey: text }))
      const outcomes = await Promise.all(calls)
      expect(await effects(text)).toBe(1)
      expect(new Set(outcomes.map(({ result, write: { xid } = { xid: '' } }) => JSON.stringify([result, xid]))).size).toBe(1)
      expect(outcomes.filter(({ replayed }) => !replayed)).toHaveLength(1)
    })

    test('50 calls with one key that refuse: 50 equal refusals, decided once', async () => {
      let runs = 0
      const refuse = command('refuse', { input: type<unknown>(), execute: async () => reject('no', { run: ++runs }) })
      const key = freshKey()
      const calls = Array.from({ length: 50 }, () => executeCommand(place, refuse, {}, { idempotencyKey: key }))
      for (const call of await Promise.allSettled(calls)) expect(call).toMatchObject({ reason: { code: 'no', details: { run: 1 } } })
      expect(runs).toBe(1)
    })

    test('50 calls with one abandoned key: one of them takes it over', async () => {
      const text = freshKey()
      await executeCommand(place, write, { text }, { idempotencyKey: text })
      await place.database.query(`update ${place.schema}.command set state = 'abandoned' where key = $1`, [text])
      const calls = Array.from({ length: 50 }, () => executeCommand(place, write, { text }, { idempotencyKey: text }))
      expect((await Promise.all(calls)).filter(({ replayed }) => !replayed)).toHaveLength(1)
      expect(await effects(text)).toBe(2)
    })

    test('the next one runs when the first one fails', async () => {
      let runs = 0
      const flaky = command('flaky', {
        input: type<unknown>(),
        execute: async () => {
          if (++runs <= 3) throw new RangeError('broken')
          return runs
        },
      })
      const key = freshKey()
      const ended = await Promise.allSettled(Array.from({ length: 10 }, () => executeCommand(place, flaky, {}, { idempotencyKey: key })))
      expect(ended.filter(({ status }) => status === 'rejected')).toHaveLength(3)
      expect(runs).toBe(4)
    })

    test('another input under the key is refused, whoever comes first', async () => {
      const key = freshKey()
      const texts = Array.from({ length: 20 }, (_, i) => `${key}-${i % 2}`)
      const ended = await Promise.allSettled(texts.map((text) => executeCommand(place, write, { text }, { idempotencyKey: key })))
      expect(ended.filter(({ status }) => status === 'fulfilled')).toHaveLength(10)
      for (const end of ended) if (end.status === 'rejected') expect(end.reason).toMatchObject({ code: 'idempotency_key_reused' })
      expect((await effects(`${key}-0`)) + (await effects(`${key}-1`))).toBe(1)
    })

    test('two processes: one effect, equal answers', async () => {
      const key = freshKey()
      const children = [1, 2].map(() => new Child([serverUrl, place.schema, place.own, key, '25']))
      await Promise.all(children.map((child) => child.said()))
      const told = children.map((child) => child.answerTo('go'))
      const outcomes = (await Promise.all(told)).flatMap((each) => each as CommandOutcome[])
      expect(outcomes).toHaveLength(50)
      expect(new Set(outcomes.map(({ result }) => JSON.stringify(result))).size).toBe(1)
      expect(outcomes.filter(({ replayed }) => !replayed)).toHaveLength(1)
      expect(outcomes[0]?.result).toMatchObject({ n: 1 })
    })

    test('keys are swept while they are used: never a second effect within the retention, never an error', async () => {
      const texts = Array.from({ length: 20 }, freshKey)
      const calls = texts.flatMap((text) =>
        Array.from({ length: 4 }, () => executeCommand(place, write, { text }, { idempotencyKey: text })),
      )
      const sweeps = Array.from({ length: 20 }, () => sweepCommands(place, 3_600_000))
      await Promise.all([...calls, ...sweeps])
      for (const text of texts) expect(await effects(text)).toBe(1)
    })

    test('keys that are swept at once do no harm but run again', async () => {
      const calls = Array.from({ length: 60 }, (_, i) =>
        executeCommand(place, write, { text: 'swept' }, { idempotencyKey: `swept-${i % 3}` }),
      )
      const sweeps = Array.from({ length: 30 }, () => sweepCommands(place, 0))
      await Promise.all([...calls, ...sweeps])
      expect(await effects('swept')).toBeGreaterThanOrEqual(3)
    })
  })

  describe('a key that is in use', () => {
    test('is waited for as long as said, then refused; nothing is done', async () => {
      const key = freshKey()
      let release = () => {}
      const released = new Promise<void>((resolve) => {
        release = resolve
      })
      const entered = new Promise<void>((resolve) => {
        const slow = command('write', {
          input: type<{ readonly text: string }>(),
          execute: async () => {
            resolve()
            await released
            return { wrote: key }
          },
        })
        void executeCommand(place, slow, { text: key }, { idempotencyKey: key })
      })
      await entered
      const impatient = executeCommand({ ...place, lockTimeoutMs: 50 }, write, { text: key }, { idempotencyKey: key })
      await expect(impatient).rejects.toMatchObject({
        code: 'database_error',
        sqlState: '55P03',
        message: expect.stringContaining('idempotency key'),
      })
      release()
      const patient = await executeCommand(place, write, { text: key }, { idempotencyKey: key })
      expect(patient).toMatchObject({ result: { wrote: key }, replayed: true })
      expect(await effects(key)).toBe(0)
    })
  })

  describe('conflicts', () => {
    test('a real deadlock: both commands succeed, one of them runs twice', async () => {
      let runs = 0
      let meet = () => {}
      const bothHold = new Promise<void>((resolve) => {
        meet = resolve
      })
      const swap = command('swap', {
        input: type<readonly string[]>(),
        execute: async ([first, second], { client }) => {
          await client.query(`update ${place.own}.note set n = n + 1 where text = $1`, [first])
          if (++runs === 2) meet()
          await bothHold
          await client.query(`update ${place.own}.note set n = n + 1 where text = $1`, [second])
        },
      })
      await Promise.all([
        executeCommand(place, swap, ['a', 'b'], { idempotencyKey: freshKey() }),
        executeCommand(place, swap, ['b', 'a'], {}),
      ])
      expect(runs).toBe(3)
      const { rows } = await place.database.query(`select n from ${place.own}.note where text in ('a', 'b')`)
      expect(rows).toEqual([{ n: 2 }, { n: 2 }])
    })

    test('a table that was altered since a statement over it was prepared', async () => {
      const database = postgres(serverUrl, { poolSize: 1 })
      await place.database.query(`create table ${place.own}.altered (a integer); insert into ${place.own}.altered values (1)`)
      const read = command('read', {
        input: type<unknown>(),
        execute: async (_input, { client }) => (await client.query(`select * from ${place.own}.altered`, [], { prepare: true })).rows,
      })
      const runtime = { ...place, database }
      expect((await executeCommand(runtime, read, {}, {})).result).toEqual([{ a: 1 }])
      await place.database.query(`alter table ${place.own}.altered add column b integer`)
      expect((await executeCommand(runtime, read, {}, {})).result).toEqual([{ a: 1, b: null }])
      await database.close()
    })
  })

  describe('a lost connection', () => {
    let proxy: TcpProxy
    let database: Database
    let runtime: CommandRuntime

    beforeEach(async () => {
      const { hostname, port } = new URL(serverUrl)
      proxy = await TcpProxy.open({ host: hostname, port: Number(port || 5432) })
      database = postgres(proxy.url(serverUrl), { poolSize: 4 })
      runtime = { ...place, database }
      // So that the first thing the proxy meets is the command.
      await executeCommand(runtime, write, { text: 'warm' }, {})
    })
    afterEach(async () => {
      await database.close().catch(() => {})
      await proxy.close()
    })

    /** The next COMMIT gets the verdict, later ones pass. */
    const onCommit = (verdict: Verdict, times = 1) => {
      let left = times
      proxy.judge = (message) => (isCommit(message) && left-- > 0 ? verdict : 'forward')
    }
    const anotherConnection = async (held: Promise<{ readonly connection: number }>) => {
      const { connection } = await held
      return proxy.next((message) => message.connection !== connection)
    }

    describe('COMMIT that never reached the server', () => {
      test('keyed: it runs again, once', async () => {
        const text = freshKey()
        onCommit('cut-before')
        expect(await executeCommand(runtime, write, { text }, { idempotencyKey: text })).toMatchObject({
          result: { wrote: text },
          replayed: false,
        })
        expect(await effects(text)).toBe(1)
      })

      test('unkeyed: it surely did not happen', async () => {
        const text = freshKey()
        onCommit('cut-before')
        const error = await executeCommand(runtime, write, { text }, {}).catch((e: unknown) => e)
        expect(error).toBeInstanceOf(DatabaseUnavailableError)
        expect(error).toMatchObject({ during: 'statement' })
        expect(await effects(text)).toBe(0)
        await executeCommand(runtime, write, { text }, {})
        expect(await effects(text)).toBe(1)
      })

      test('keyed, again and again: a bounded number of times, then it surely did not happen', async () => {
        const text = freshKey()
        let commits = 0
        // The claims of the key must pass: they are the commits that follow a statement on `command` without one of ours.
        proxy.judge = (message) => (isCommit(message) && commits++ % 2 === 0 ? 'cut-before' : 'forward')
        const error = await executeCommand(runtime, write, { text }, { idempotencyKey: text }).catch((e: unknown) => e)
        expect(error).toMatchObject({ code: 'database_unavailable', during: 'statement' })
        expect(commits).toBe(6)
        expect(await effects(text)).toBe(0)
        proxy.judge = () => 'forward'
        expect(await executeCommand(runtime, write, { text }, { idempotencyKey: text })).toMatchObject({ replayed: false })
        expect(await effects(text)).toBe(1)
      })

      test('the bulk door: says that the batch did not happen', async () => {
        const text = freshKey()
        onCommit('cut-before')
        const error = await executeMany(runtime, write, [{ text }, { text }], {}).catch((e: unknown) => e)
        expect(error).toMatchObject({ code: 'database_unavailable', details: { executed: 0 } })
        expect(await effects(text)).toBe(0)
      })
    })

    describe('COMMIT whose answer was lost', () => {
      test('keyed: the recorded answer, which is no replay', async () => {
        const text = freshKey()
        onCommit('cut-after')
        const outcome = await executeCommand(runtime, write, { text }, { idempotencyKey: text })
        expect(outcome).toMatchObject({ result: { wrote: text }, replayed: false })
        expect(await effects(text)).toBe(1)
        expect(await executeCommand(runtime, write, { text }, { idempotencyKey: text })).toEqual({ ...outcome, replayed: true })
      })

      test('keyed: the recorded refusal', async () => {
        let runs = 0
        const refuse = command('refuse', { input: type<unknown>(), execute: async () => reject('no', { run: ++runs }) })
        onCommit('cut-after')
        const refused = executeCommand(runtime, refuse, {}, { idempotencyKey: freshKey() })
        await expect(refused).rejects.toMatchObject({ code: 'no', details: { run: 1 } })
        expect(runs).toBe(1)
      })

      test('keyed, and the answer to the claim as well', async () => {
        const text = freshKey()
        onCommit('cut-after', 2)
        expect(await executeCommand(runtime, write, { text }, { idempotencyKey: text })).toMatchObject({ result: { wrote: text } })
        expect(await effects(text)).toBe(1)
      })

      test('unkeyed: the server says that it happened', async () => {
        const text = freshKey()
        onCommit('cut-after')
        const outcome = await executeCommand(runtime, write, { text }, {})
        expect(outcome).toMatchObject({ result: { wrote: text }, write: { xid: expect.any(String) } })
        expect(await effects(text)).toBe(1)
      })

      test('unkeyed, nothing written: there is nothing to be unsure of', async () => {
        onCommit('cut-after')
        const read = command('read', { input: type<unknown>(), execute: async () => 'read' })
        expect(await executeCommand(runtime, read, {}, {})).toEqual({ result: 'read', write: undefined, replayed: false })
      })

      test('the bulk door: goes on', async () => {
        const text = freshKey()
        onCommit('cut-after')
        expect(await executeMany(runtime, write, [{ text }, { text }, { text }], { batchSize: 2 })).toMatchObject({ executed: 3 })
        expect(await effects(text)).toBe(3)
      })
    })

    describe('COMMIT that waits on its way', () => {
      test.each(['deliver', 'drop'] as const)('keyed: the claim waits for it, then %s', async (end) => {
        const text = freshKey()
        onCommit('hold')
        const held = proxy.next(isCommit)
        const outcome = executeCommand(runtime, write, { text }, { idempotencyKey: text })
        await anotherConnection(held)
        await claimWaits()
        proxy[end]()
        expect(await outcome).toMatchObject({ result: { wrote: text }, replayed: false })
        expect(await effects(text)).toBe(1)
      })

      test('keyed, longer than the patience: the outcome is unknown; later the key tells it', async () => {
        const text = freshKey()
        onCommit('hold')
        const outcome = executeCommand({ ...runtime, lockTimeoutMs: 50 }, write, { text }, { idempotencyKey: text })
        await expect(outcome).rejects.toBeInstanceOf(OutcomeUnknownError)
        proxy.deliver()
        expect(await executeCommand(place, write, { text }, { idempotencyKey: text })).toMatchObject({
          result: { wrote: text },
          replayed: true,
        })
        expect(await effects(text)).toBe(1)
      })

      test('keyed, under a key that had been abandoned: the claim waits for the row, too', async () => {
        const text = freshKey()
        await executeCommand(runtime, write, { text }, { idempotencyKey: text })
        await place.database.query(`update ${place.schema}.command set state = 'abandoned' where key = $1`, [text])
        await place.database.query(`delete from ${place.own}.effect where text = $1`, [text])
        onCommit('hold')
        const held = proxy.next(isCommit)
        const outcome = executeCommand(runtime, write, { text }, { idempotencyKey: text })
        await anotherConnection(held)
        await claimWaits()
        proxy.deliver()
        expect(await outcome).toMatchObject({ replayed: false })
        expect(await effects(text)).toBe(1)
      })

      test.each([
        ['deliver', 1],
        ['drop', 0],
      ] as const)('unkeyed: the server is asked until it knows, then %s', async (end, happened) => {
        const text = freshKey()
        onCommit('hold')
        const asked = proxy.next(({ sql }) => sql?.includes('pg_xact_status') ?? false)
        const outcome = executeCommand(runtime, write, { text }, {}).catch((e: unknown) => e)
        await asked
        proxy[end]()
        expect(await outcome).toMatchObject(happened ? { result: { wrote: text } } : { code: 'database_unavailable', during: 'statement' })
        expect(await effects(text)).toBe(happened)
      })

      test('unkeyed, on a server that came back as another one: unknown, never a guess', async () => {
        const text = freshKey()
        onCommit('cut-after')
        const elsewhere: Database = {
          query: (sql, values, options) =>
            sql.includes('system_identifier')
              ? database.query(sql.replace('system_identifier', 'system_identifier + $1'), [++keys], options)
              : database.query(sql, values, options),
          transaction: (work, options) => database.transaction(work, options),
          close: () => database.close(),
          traits: database.traits,
        }
        await expect(executeCommand({ ...runtime, database: elsewhere }, write, { text }, {})).rejects.toBeInstanceOf(OutcomeUnknownError)
        expect(await effects(text)).toBe(1)
      })
    })

    describe('before COMMIT', () => {
      const onInsert = (verdict: Verdict) => {
        let left = 1
        proxy.judge = ({ sql }) => (sql?.includes('.effect') && left-- > 0 ? verdict : 'forward')
      }
      const slowly = (text: string) => executeCommand(runtime, write, { text }, { idempotencyKey: text })

      test.each(['cut-before', 'cut-after', 'hold'] as const)('keyed: it runs once more (%s)', async (verdict) => {
        const text = freshKey()
        onInsert(verdict)
        const outcome = slowly(text)
        if (verdict === 'hold') {
          await anotherConnection(proxy.next(({ sql }) => sql?.includes('.effect') ?? false))
          await claimWaits()
          proxy.deliver()
        }
        expect(await outcome).toMatchObject({ replayed: false })
        expect(await effects(text)).toBe(1)
      })

      test('unkeyed: it surely did not happen, and is not run again', async () => {
        const text = freshKey()
        onInsert('cut-after')
        await expect(executeCommand(runtime, write, { text }, {})).rejects.toMatchObject({
          code: 'database_unavailable',
          during: 'statement',
        })
        expect(await effects(text)).toBe(0)
      })
    })

    test('a commit lost in another database, inside execute, is not taken for our own', async () => {
      let runs = 0
      const other = command('other', {
        input: type<unknown>(),
        execute: async () => {
          runs++
          throw new DatabaseUnavailableError('elsewhere', 'commit')
        },
      })
      for (const options of [{}, { idempotencyKey: freshKey() }]) {
        await expect(executeCommand(runtime, other, {}, options)).rejects.toMatchObject({ message: 'elsewhere' })
      }
      expect(runs).toBe(2)
    })

    test('slow and cut into small pieces, everything still works', async () => {
      proxy.delayMs = 3
      const text = freshKey()
      const outcomes = await Promise.all([1, 2, 3].map(() => executeCommand(runtime, write, { text }, { idempotencyKey: text })))
      expect(outcomes.map(({ result }) => result)).toEqual([{ wrote: text }, { wrote: text }, { wrote: text }])
      expect(await effects(text)).toBe(1)
    })

    /** Resolves when some backend waits for a transaction to end, as the claim of a key does. */
    async function claimWaits(): Promise<void> {
      for (;;) {
        const { rows } = await place.database.query<{ waiting: boolean }>(
          `select exists (select from pg_locks l join pg_stat_activity a using (pid)
           where not l.granted and l.locktype = 'transactionid' and a.query like '%' || $1 || '%') as waiting`,
          [`${place.schema}"`],
        )
        if (rows[0]?.waiting) return
      }
    }

    test('100 rounds of all of it: one effect each, and the outcome told is the outcome that happened', async () => {
      const seed = Number(process.env.HEADWATER_TEST_SEED ?? 20_240_917)
      const random = seeded(seed)
      const told = { done: 0, not: 0, unknown: 0 }
      for (let round = 0; round < 100; round++) {
        const text = `round-${seed}-${round}`
        const keyed = random() < 0.6
        const verdicts: readonly Verdict[] = ['cut-before', 'cut-after', 'hold']
        const verdict = verdicts[Math.floor(random() * 3)] ?? 'forward'
        const end = random() < 0.5 ? 'deliver' : 'drop'
        const messagesBefore = Math.floor(random() * 6)
        onCommit(verdict)
        const held = proxy.next(isCommit)
        const ending = executeCommand(runtime, write, { text }, keyed ? { idempotencyKey: text } : {}).then(
          () => 'done' as const,
          (error: unknown) =>
            error instanceof OutcomeUnknownError
              ? ('unknown' as const)
              : error instanceof DatabaseUnavailableError
                ? ('not' as const)
                : expect.unreachable(String(error)),
        )
        if (verdict === 'hold') {
          const { connection } = await held
          for (let i = 0; i < Math.min(messagesBefore, 2); i++) await proxy.next((message) => message.connection !== connection)
          proxy[end]()
        }
        const ended = await ending
        told[ended]++
        const happened = await effects(text)
        const where = `seed ${seed}, round ${round}: ${verdict}, ${end}, ${keyed ? 'keyed' : 'unkeyed'}`
        expect(happened, where).toBeLessThanOrEqual(1)
        if (keyed) expect([ended, happened], where).toEqual(['done', 1])
        else if (ended !== 'unknown') expect(happened, where).toBe(ended === 'done' ? 1 : 0)
      }
      expect(told.unknown).toBe(0)
      expect(told.done).toBeGreaterThan(50)
      expect(told.not).toBeGreaterThan(5)
    })
  })
})

/** A process that runs `command-child.mjs`. */
class Child {
  readonly #process: ChildProcess

  constructor(argv: readonly string[]) {
    this.#process = fork(new URL('./support/command-child.mjs', import.meta.url), argv)
  }

  /** What it says next; rejects when it ends without a word. */
  async said(): Promise<unknown> {
    const ended = once(this.#process, 'exit').then(([code]) => Promise.reject(new Error(`the process ended with ${code}`)))
    const [message] = await Promise.race([once(this.#process, 'message'), ended])
    return message
  }

  answerTo(message: string): Promise<unknown> {
    const answer = this.said()
    this.#process.send(message)
    return answer
  }
}

/** A small generator of numbers in [0, 1) that gives the same ones for the same seed (mulberry32). */
function seeded(seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let t = Math.imul(state ^ (state >>> 15), 1 | state)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32
  }
}
