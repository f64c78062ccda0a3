import { randomUUID } from 'node:crypto'
import { DatabaseError } from 'headwater'
import { postgres } from 'headwater/postgres'
import { logContract } from 'headwater/testing'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { AppendOutcome, AppendRequest } from '../src/log/log.ts'
import { event, keyed, type LogPlace, logPlace, statuses, to } from './log/log-place.ts'
import { databases, postgresUrl } from './support/databases.ts'

for (const target of databases) {
  describe.skipIf(target.skip)(`the log on ${target.name}`, () => {
    let place: LogPlace
    beforeAll(async () => {
      place = await logPlace(await target.open())
    })
    afterAll(() => place.database.close())

    describe('the contract', () => {
      for (const { name, run } of logContract(async () => place.log())) test(name, run)
    })

    // PGlite has one connection, and so one lane.
    describe.skipIf(target.name === 'pglite')('with two groups under way', () => {
      const twoLanes = { allowed: () => 2 }
      for (const { name, run } of logContract(async () => place.log({ lanes: twoLanes }))) test(name, run)

      test('a hundred writers on a few streams: each is answered what happened, and nothing is lost', async () => {
        const log = place.log({ lanes: twoLanes })
        const streams = Array.from({ length: 40 }, (): string => randomUUID())
        const appended = new Map(streams.map((stream) => [stream, 0]))
        let [conflicts, underway, most] = [0, 0, 0]
        const watched: typeof place.database = {
          ...place.database,
          query: (...call) => {
            most = Math.max(most, ++underway)
            return place.database.query(...call).finally(() => underway--) as never
          },
        }
        const wide = place.log({ lanes: twoLanes, database: watched })
        const writer = async (n: number) => {
          for (let i = 0; i < 30; i++) {
            const stream = streams[(n * 7 + i * 13) % streams.length] ?? ''
            const version = i % 3 === 0 ? (appended.get(stream) ?? 0) : 'any'
            const outcome = await wide.append(to(stream, version, 1 + (i % 2)))
            if (outcome.status === 'appended') appended.set(stream, (appended.get(stream) ?? 0) + 1 + (i % 2))
            else conflicts++
          }
        }
        await Promise.all(Array.from({ length: 100 }, (_, n) => writer(n)))
        expect(most).toBe(2)
        expect(conflicts).toBeGreaterThan(0)
        for (const stream of streams) {
          const { events, version } = await log.readStream('thing', stream)
          expect(version).toBe(appended.get(stream))
          expect(events.map((each) => each.version)).toEqual(events.map((_, i) => i + 1))
        }
      })
    })

    describe('groups', () => {
      /** How many statements carry requests that arrive together. */
      async function statementsFor(requests: readonly AppendRequest[]): Promise<number> {
        let statements = 0
        const database: typeof place.database = {
          ...place.database,
          query: (...call) => {
            statements++
            return place.database.query(...call) as never
          },
        }
        const log = place.log({ database })
        await Promise.all(requests.map((request) => log.append(request)))
        return statements
      }

      test('what arrives together goes in one statement', async () => {
        expect(await statementsFor(Array.from({ length: 64 }, () => to(randomUUID())))).toBe(1)
      })

      test('requests on one stream go one after another, in order', async () => {
        const stream = randomUUID()
        expect(await statementsFor(Array.from({ length: 5 }, (_, i) => to(stream, i)))).toBe(5)
        expect((await place.log().readStream('thing', stream)).version).toBe(5)
      })

      test('no group has more than 500 events, or more than 4 MiB', async () => {
        expect(await statementsFor(Array.from({ length: 12 }, () => to(randomUUID(), 0, 100)))).toBe(3)
        const large = () => ({ ...event('x'.repeat(250_000)) })
        const requests = Array.from({ length: 20 }, () => ({
          streams: [{ aggregate: 'thing', stream: randomUUID(), expected: 0, events: [large()] }],
        }))
        expect(await statementsFor(requests)).toBe(2)
      })

      test('an error of one request fails that request only', async () => {
        const table = `"${place.schema}".event`
        await place.database.query(`alter table ${table} add constraint no_poison check (type <> 'Poison')`)
        const poison = to(randomUUID(), 0)
        const requests = [to(randomUUID()), to(randomUUID()), to(randomUUID(), 7), keyed(to(randomUUID()), randomUUID())]
        const log = place.log()
        const poisoned = log.append({ streams: poison.streams.map((stream) => ({ ...stream, events: [event({}, 'Poison')] })) })
        const failed = expect(poisoned).rejects.toMatchObject({ sqlState: '23514' })
        expect(statuses(await Promise.all(requests.map((request) => log.append(request))))).toEqual([
          'appended',
          'appended',
          'conflict',
          'appended',
        ])
        await failed
        await place.database.query(`alter table ${table} drop constraint no_poison`)
      })

      test.each([
        ['23514', 1, 1],
        ['23514', 2, 3],
        ['40001', 1, 2],
        ['55P03', 2, 1],
        ['57014', 2, 1],
      ] as const)('error %s to a group of %i: %i statements', async (sqlState, requests, statements) => {
        let sent = 0
        const query = async () => {
          sent++
          throw new DatabaseError(sqlState, 'refused')
        }
        const log = place.log({ database: { ...place.database, query } })
        const ended = await Promise.allSettled(Array.from({ length: requests }, () => log.append(to(randomUUID()))))
        expect(ended).toMatchObject(Array.from({ length: requests }, () => ({ reason: { sqlState } })))
        expect(sent).toBe(statements)
      })
    })

    describe('what the server refuses', () => {
      const appendIn = (before: string, isolation: 'read committed' | 'repeatable read' | 'serializable') =>
        place.database.transaction(
          async (transaction) => {
            await transaction.query(before)
            await place.log({ database: { ...place.database, query: transaction.query.bind(transaction) } }).append(to(randomUUID()))
          },
          { isolation },
        )

      test.each(['repeatable read', 'serializable'] as const)('an append in %s', async (isolation) => {
        await expect(appendIn('select 1', isolation)).rejects.toMatchObject({ sqlState: '55000', message: /READ COMMITTED/ })
      })

      test('an append with synchronous_commit = off', async () => {
        const appending = appendIn('set local synchronous_commit = off', 'read committed')
        await expect(appending).rejects.toMatchObject({ sqlState: '55000', message: /synchronous_commit/ })
      })
    })

    describe('idempotency keys', () => {
      const record = async (key: string) =>
        (
          await place.database.query(
            `select name, input_hash, state, result, code, xid::text as xid from "${place.schema}".command where key = $1`,
            [key],
          )
        ).rows

      test('are recorded with the append', async () => {
        const [key, other] = [randomUUID(), randomUUID()]
        const answer = { command: 'act', key: other, inputHash: 'h', refusal: { code: 'no', details: { a: 1 } } }
        const [done, refused] = await Promise.all([
          place.log().append(keyed(to(randomUUID()), key)),
          place.log().append({ streams: [], answer }),
        ])
        const xidOf = (outcome: typeof done) => (outcome.status === 'appended' ? outcome.xid : '')
        const base = { name: 'act', code: null }
        expect(await record(key)).toEqual([{ ...base, input_hash: 'hash', state: 'done', result: { key }, xid: xidOf(done) }])
        expect(await record(other)).toEqual([
          { ...base, input_hash: 'h', state: 'refused', result: { a: 1 }, code: 'no', xid: xidOf(refused) },
        ])
      })

      test('that were abandoned are taken over, for the same input', async () => {
        const key = randomUUID()
        await place.database.query(
          `insert into "${place.schema}".command (name, key, input_hash, state) values ('act', $1, 'hash', 'abandoned')`,
          [key],
        )
        const request = keyed(to(randomUUID()), key)
        const other = { ...request, answer: { command: 'act', key, inputHash: 'other' } }
        expect(await place.log().append(other)).toEqual({ status: 'duplicate' })
        expect(await place.log().append(request)).toMatchObject({ status: 'appended' })
        expect(await record(key)).toMatchObject([{ state: 'done', result: { key } }])
        expect(await place.log().append(request)).toEqual({ status: 'duplicate' })
      })

      test('are not taken by a group that fails', async () => {
        const [key, stream] = [randomUUID(), randomUUID()]
        expect(statuses([await place.log().append(keyed(to(stream, 3), key))])).toEqual(['conflict'])
        expect(await record(key)).toEqual([])
      })
    })

    describe('the generation', () => {
      test('another one: nothing is appended, it is read anew, and all is to be decided again', async () => {
        const stream = randomUUID()
        place.calls.length = 0
        place.generation = '000000000000'
        const log = place.log()
        const outcomes = await Promise.all([log.append(to(stream, 0)), log.append(to(randomUUID()))])
        expect(statuses(outcomes)).toEqual(['stale', 'stale'])
        expect(place.calls).toEqual(['lost', 'renewed'])
        expect(statuses([await log.append(to(stream, 0))])).toEqual(['appended'])
      })

      test('another timeline than the recorded one is another one', async () => {
        const table = `"${place.schema}".generation`
        await place.database.query(`update ${table} set identity = identity || '{"timeline": "000000FF"}'`)
        expect(statuses([await place.log({ renewGeneration: async () => {} }).append(to(randomUUID()))])).toEqual(['stale'])
        await place.database.query(`update ${table} set identity = identity - 'timeline'`)
        expect(statuses([await place.log({ renewGeneration: async () => {} }).append(to(randomUUID()))])).toEqual(['appended'])
      })

      test('when it cannot be read anew, the append fails', async () => {
        const renewGeneration = () => Promise.reject(new Error('no'))
        await expect(place.log({ generation: () => 'x', renewGeneration }).append(to('a'))).rejects.toThrow('no')
      })
    })

    test('time never goes back, even if the clock does', async () => {
      const stream = randomUUID()
      await place.log().append(to(stream))
      const table = `"${place.schema}".event`
      await place.database.query(
        `update ${table} set time = time + interval '1 hour' where position = (select max(position) from ${table})`,
      )
      await place.log().append(to(stream, 1, 2))
      const times = (await place.log().readStream('thing', stream)).events.map(({ time }) => time)
      expect(times).toEqual([times[0], times[0], times[0]])
      await place.database.query(`update ${table} set time = time - interval '1 hour' where stream = $1`, [`thing-${stream}`])
    })

    test('a stream that is longer than one answer is read whole', async () => {
      const stream = randomUUID()
      for (let i = 0; i < 9; i++) await place.log().append(to(stream, i * 500, 500))
      const { events, version } = await place.log().readStream('thing', stream, 100)
      expect(version).toBe(4500)
      expect(events.map((each) => each.version)).toEqual(Array.from({ length: 4400 }, (_, i) => i + 101))
    })

    test('a read by types merges scans of the index, and stops when it has enough', async () => {
      let plan = ''
      const explaining: typeof place.database = {
        ...place.database,
        query: async (text, values, options) => {
          const { rows } = await place.database.query(`explain (analyze, timing off, costs off, summary off, format json) ${text}`, values)
          plan = JSON.stringify(rows)
          return await place.database.query(text, values, options)
        },
      }
      for (let i = 0; i < 4; i++) await place.log().append(to(randomUUID(), 0, 500))
      await place.database.query(`analyze "${place.schema}".event`)
      const read = await place.log({ database: explaining }).read({ after: 3, limit: 7, types: ['Happened', 'Nothing'] })
      expect(read).toHaveLength(7)
      expect(plan).toContain('"Merge Append"')
      expect(plan).not.toContain('"Seq Scan"')
      for (const [, rows] of plan.matchAll(/"Actual Rows":([0-9.]+)/g)) expect(Number(rows)).toBeLessThanOrEqual(7)
    })
  })
}

const server = databases.find(({ name }) => name === 'postgres')

describe.skipIf(server?.skip)('several logs on one server', () => {
  let place: LogPlace
  const others = [1, 2].map(() => postgres(postgresUrl, { poolSize: 2 }))
  beforeAll(async () => {
    place = await logPlace(postgres(postgresUrl, { poolSize: 4 }))
  })
  afterAll(async () => {
    for (const database of [...others, place.database]) await database.close()
  })

  test('two creators of one stream: exactly one wins, 200 times', async () => {
    const [a, b] = others.map((database) => place.log({ database }))
    for (let i = 0; i < 200; i++) {
      const outcomes = await Promise.all([
        a?.append(to(`race-${i}`, 'no_stream')),
        b?.append(to(`race-${i}`, i % 2 === 0 ? 0 : 'no_stream')),
      ])
      expect(outcomes.map((outcome) => outcome?.status).toSorted()).toEqual(['appended', 'conflict'])
    }
  })

  test('one key from two processes: one takes it, 100 times', async () => {
    const [a, b] = others.map((database) => place.log({ database }))
    for (let i = 0; i < 100; i++) {
      const outcomes = await Promise.all([a?.append(keyed(to(`key-a-${i}`), `${i}`)), b?.append(keyed(to(`key-b-${i}`), `${i}`))])
      expect(outcomes.map((outcome) => outcome?.status).toSorted()).toEqual(['appended', 'duplicate'])
    }
  })

  test('a key that a command over tables takes at the same moment is a duplicate', async () => {
    const requests = [keyed(to('beside'), 'other'), keyed(to('racing'), 'raced')]
    let appending: Promise<AppendOutcome[]> | undefined
    await place.database.transaction(async (transaction) => {
      await transaction.query(
        `insert into "${place.schema}".command (name, key, input_hash, state) values ('act', 'raced', 'hash', 'done')`,
      )
      const log = place.log({ database: others[0] ?? place.database })
      appending = Promise.all(requests.map((request) => log.append(request)))
      await expect.poll(async () => (await others[1]?.query<{ n: number }>(waitingSql))?.rows[0]?.n).toBeGreaterThan(0)
    })
    expect(statuses((await appending) ?? [])).toEqual(['appended', 'duplicate'])
  })

  const waitingSql = `select count(*) as n from pg_locks where locktype = 'transactionid' and not granted`
})
