import { command, DatabaseError, HeadwaterError, InvalidInputError, Rejection, reject, type, UsageError } from 'headwater'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { z } from 'zod'
import { insideCommand, refuseInsideCommand } from '../src/command/command-scope.ts'
import { executeCommand } from '../src/command/execute-command.ts'
import { executeMany } from '../src/command/execute-many.ts'
import { sweepCommands } from '../src/command/sweep-commands.ts'
import { type CommandPlace, commandPlace } from './support/command-table.ts'
import { databases } from './support/databases.ts'

for (const target of databases)
  describe.skipIf(target.skip)(`commands on ${target.name}`, () => {
    let place: CommandPlace
    let keys = 0
    const freshKey = () => `key-${++keys}`

    beforeAll(async () => {
      place = await commandPlace(await target.open())
    })
    afterAll(async () => {
      await place.database.close()
    })

    const texts = async () => {
      const { rows } = await place.database.query<{ text: string }>(`select text from ${place.own}.note order by id`)
      return rows.map(({ text }) => text)
    }
    /** A command whose result, or error, is what `work` makes. */
    const doing = (work: (sql: (text: string) => Promise<unknown>, input: unknown) => unknown) =>
      command('do', {
        input: type<unknown>(),
        execute: async (input, { client }) =>
          work(async (text) => (await client.query(text.replaceAll('note', `${place.own}.note`))).rows, input),
      })
    const insert = (text: string) => doing((sql) => sql(`insert into note (text) values ('${text}') returning text`))

    test('commits what it wrote and tells the transaction', async () => {
      const outcome = await executeCommand(place, insert('first'), {}, {})
      expect(outcome).toEqual({
        result: [{ text: 'first' }],
        write: { xid: expect.stringMatching(/^\d+$/), fanOut: false },
        replayed: false,
      })
      const { rows } = await place.database.query(`select pg_xact_status($1::text::xid8) as status`, [outcome.write?.xid])
      expect(rows).toEqual([{ status: 'committed' }])
      expect(await texts()).toContain('first')
    })

    test('gives execute the parsed input, its context and a client', async () => {
      const seen: unknown[] = []
      const greet = command('greet', {
        input: z.object({ name: z.string().default('you') }),
        execute: async (input, { sql, client, context }) => {
          seen.push(input, context, await sql`select ${input.name} as name`, (await client.query('select 1 as one')).rows)
        },
      })
      await executeCommand(place, greet, {}, { context: { actor: 'ann' } })
      await executeCommand(place, greet, {}, {})
      expect(seen.slice(0, 4)).toEqual([{ name: 'you' }, { actor: 'ann' }, [{ name: 'you' }], [{ one: 1 }]])
      expect(seen[5]).toEqual({})
    })

    test('has no write when it only read', async () => {
      expect(
        await executeCommand(
          place,
          doing(() => ({ read: true })),
          {},
          {},
        ),
      ).toEqual({ result: { read: true }, write: undefined, replayed: false })
    })

    test('says that a change fanned out, keyed and not', async () => {
      const fan = doing(async (sql) => {
        await sql(`update note set n = n + 1 where text = 'first'`)
        await sql(`select set_config('headwater.fan_out', '1', true)`)
      })
      expect((await executeCommand(place, fan, {}, {})).write?.fanOut).toBe(true)
      const idempotencyKey = freshKey()
      expect((await executeCommand(place, fan, {}, { idempotencyKey })).write?.fanOut).toBe(true)
      expect((await executeCommand(place, fan, {}, { idempotencyKey })).write?.fanOut).toBe(true)
      // The setting is empty now instead of missing, on this connection.
      expect((await executeCommand(place, insert(freshKey()), {}, {})).write?.fanOut).toBe(false)
      expect((await executeCommand(place, insert(freshKey()), {}, { idempotencyKey: freshKey() })).write?.fanOut).toBe(false)
    })

    describe.each([
      ['thrown', true],
      ['returned', false],
    ])('a refusal that is %s', (_how, thrown) => {
      test.each(['keyed', 'unkeyed'])('writes nothing, %s', async (kind) => {
        const text = freshKey()
        const refusing = doing(async (sql) => {
          await sql(`insert into note (text) values ('${text}')`)
          const refusal = reject('not_today', { when: new Date(0) })
          if (thrown) throw refusal
          return refusal
        })
        const error = await executeCommand(place, refusing, {}, kind === 'keyed' ? { idempotencyKey: freshKey() } : {}).catch(
          (e: unknown) => e,
        )
        expect(error).toBeInstanceOf(Rejection)
        expect(error).toMatchObject({ code: 'not_today', details: { when: '1970-01-01T00:00:00.000Z' } })
        expect(await texts()).not.toContain(text)
      })
    })

    test.each(['keyed', 'unkeyed'])('may refuse after a failed statement, %s', async (kind) => {
      const twice = doing(async (sql) => {
        await sql(`insert into note (text) values ('first')`).catch((error: unknown) => {
          throw error instanceof DatabaseError && error.sqlState === '23505' ? reject('already_exists') : error
        })
      })
      const options = kind === 'keyed' ? { idempotencyKey: freshKey() } : {}
      await expect(executeCommand(place, twice, {}, options)).rejects.toMatchObject({ code: 'already_exists' })
      await expect(executeCommand(place, twice, {}, options)).rejects.toMatchObject({ code: 'already_exists' })
    })

    test.each(['keyed', 'unkeyed'])('a swallowed failure of a statement is an error, not a quiet rollback, %s', async (kind) => {
      const swallow = doing(async (sql) => {
        await sql(`insert into note (text) values ('first')`).catch(() => {})
      })
      const options = kind === 'keyed' ? { idempotencyKey: freshKey() } : {}
      await expect(executeCommand(place, swallow, {}, options)).rejects.toMatchObject({ sqlState: '25P02' })
    })

    test('refuses input that does not fit before anything runs', async () => {
      const strict = command('strict', { input: z.object({ id: z.string() }), execute: async () => expect.unreachable() })
      await expect(executeCommand(place, strict, { id: 1 }, {})).rejects.toMatchObject({
        code: 'invalid_input',
        issues: [{ path: ['id'] }],
      })
      await expect(executeCommand(place, strict, { id: 'a\u0000' }, { idempotencyKey: freshKey() })).rejects.toBeInstanceOf(
        InvalidInputError,
      )
    })

    test.each([
      ['empty', ''],
      ['over 256 bytes', 'ä'.repeat(129)],
      ['with U+0000', 'a\u0000'],
      ['with half a surrogate pair', 'a\ud800'],
    ])('refuses an idempotency key that is %s', async (_what, idempotencyKey) => {
      const refused = executeCommand(
        place,
        doing(() => expect.unreachable()),
        {},
        { idempotencyKey },
      )
      await expect(refused).rejects.toMatchObject({ code: 'invalid_input', issues: [{ path: ['idempotencyKey'] }] })
    })

    test('takes a key of 256 bytes', async () => {
      expect(
        await executeCommand(
          place,
          doing(() => 1),
          {},
          { idempotencyKey: 'ä'.repeat(128) },
        ),
      ).toMatchObject({ result: 1 })
    })

    test.each([
      ['undefined', undefined, undefined],
      ['null', null, null],
      ['text', 'text', 'text'],
      ['a list', [1, undefined, null, 'a'], [1, null, null, 'a']],
      ['an empty list', [], []],
      ['a date', { at: new Date(0), none: undefined }, { at: '1970-01-01T00:00:00.000Z' }],
      ['nothing but zero', 0, 0],
      [
        'an instance',
        new (class {
          a = 1
        })(),
        { a: 1 },
      ],
    ])('gives back %s as JSON does, at first and again', async (_what, result, expected) => {
      const idempotencyKey = freshKey()
      const giving = doing(() => result)
      expect((await executeCommand(place, giving, {}, {})).result).toStrictEqual(expected)
      const first = await executeCommand(place, giving, {}, { idempotencyKey })
      const again = await executeCommand(place, giving, {}, { idempotencyKey })
      expect(first.result).toStrictEqual(expected)
      expect(again).toStrictEqual({ ...first, replayed: true })
    })

    const circle: Record<string, unknown> = {}
    circle.self = circle
    test.each([
      ['a function', { f: () => 1 }],
      ['a bigint', [1n]],
      ['a circle', circle],
      ['a Map', new Map([[1, 2]])],
      ['bytes', new Uint8Array(2)],
      ['NaN', Number.NaN],
      ['a symbol', Symbol('s')],
      ['U+0000', { text: '\u0000' }],
      ['half a surrogate pair', ['\udc00']],
    ])('refuses a result with %s and writes nothing', async (_what, result) => {
      for (const options of [{}, { idempotencyKey: freshKey() }]) {
        const text = freshKey()
        const giving = doing(async (sql) => {
          await sql(`insert into note (text) values ('${text}')`)
          return result
        })
        await expect(executeCommand(place, giving, {}, options)).rejects.toBeInstanceOf(UsageError)
        expect(await texts()).not.toContain(text)
      }
    })

    describe('an idempotency key', () => {
      test('answers the same again and does nothing', async () => {
        const idempotencyKey = freshKey()
        const text = freshKey()
        const first = await executeCommand(place, insert(text), { a: 1, b: { c: 2, d: 3 } }, { idempotencyKey })
        const again = await executeCommand(place, insert(text), { b: { d: 3, c: 2 }, a: 1, e: undefined }, { idempotencyKey })
        expect(again).toEqual({ ...first, replayed: true })
        expect((await texts()).filter((each) => each === text)).toHaveLength(1)
      })

      test('is one per command', async () => {
        const idempotencyKey = freshKey()
        const other = command('other', { input: type<unknown>(), execute: async () => 'other' })
        await executeCommand(
          place,
          doing(() => 'do'),
          {},
          { idempotencyKey },
        )
        expect(await executeCommand(place, other, {}, { idempotencyKey })).toMatchObject({ result: 'other', replayed: false })
      })

      test('refuses another input', async () => {
        const idempotencyKey = freshKey()
        await executeCommand(
          place,
          doing(() => 1),
          { a: 1 },
          { idempotencyKey },
        )
        const other = executeCommand(
          place,
          doing(() => expect.unreachable()),
          { a: 2 },
          { idempotencyKey },
        )
        await expect(other).rejects.toMatchObject({ code: 'idempotency_key_reused' })
      })

      test.each([
        ['a Map', new Map([[1, 2]])],
        ['a bigint', { n: 1n }],
      ])('refuses input whose equality it could not tell: %s', async (_what, input) => {
        const refused = executeCommand(
          place,
          doing(() => expect.unreachable()),
          input,
          { idempotencyKey: freshKey() },
        )
        await expect(refused).rejects.toBeInstanceOf(UsageError)
      })

      test('answers a refusal again though the reason is gone', async () => {
        const idempotencyKey = freshKey()
        let closed = true
        const ask = doing(() => (closed ? reject('closed', { until: 9 }) : 'open'))
        const first = await executeCommand(place, ask, {}, { idempotencyKey }).catch((e: unknown) => e)
        closed = false
        const again = await executeCommand(place, ask, {}, { idempotencyKey }).catch((e: unknown) => e)
        expect(first).toBeInstanceOf(Rejection)
        expect(again).toBeInstanceOf(Rejection)
        expect(again).toMatchObject({ code: 'closed', details: { until: 9 } })
        expect(await executeCommand(place, ask, {}, { idempotencyKey: freshKey() })).toMatchObject({ result: 'open' })
      })

      test('a refusal without details has none again', async () => {
        const idempotencyKey = freshKey()
        const ask = doing(() => reject('no'))
        for (let i = 0; i < 2; i++) {
          const error = await executeCommand(place, ask, {}, { idempotencyKey }).catch((e: unknown) => e)
          expect((error as Rejection).details).toBeUndefined()
        }
      })

      test('is free again after an ordinary error', async () => {
        const idempotencyKey = freshKey()
        let broken = true
        const flaky = doing(() => {
          if (broken) throw new RangeError('broken')
          return 'well'
        })
        await expect(executeCommand(place, flaky, {}, { idempotencyKey })).rejects.toThrow(RangeError)
        broken = false
        expect(await executeCommand(place, flaky, {}, { idempotencyKey })).toMatchObject({ result: 'well', replayed: false })
      })

      test('that was abandoned is taken over, by the same input only', async () => {
        const idempotencyKey = freshKey()
        await executeCommand(
          place,
          doing(() => 'first'),
          {},
          { idempotencyKey },
        )
        await place.database.query(`update ${place.schema}.command set state = 'abandoned', result = null where key = $1`, [idempotencyKey])
        const other = executeCommand(
          place,
          doing(() => expect.unreachable()),
          { a: 1 },
          { idempotencyKey },
        )
        await expect(other).rejects.toMatchObject({ code: 'idempotency_key_reused' })
        const second = await executeCommand(
          place,
          doing(() => 'second'),
          {},
          { idempotencyKey },
        )
        expect(second).toMatchObject({ result: 'second', replayed: false })
        expect(
          await executeCommand(
            place,
            doing(() => 'third'),
            {},
            { idempotencyKey },
          ),
        ).toEqual({ ...second, replayed: true })
      })

      test('does not leave its patience to the statements of the command', async () => {
        const show = doing((sql) => sql('show lock_timeout'))
        expect(await executeCommand(place, show, {}, { idempotencyKey: freshKey() })).toMatchObject({ result: [{ lock_timeout: '0' }] })
      })
    })

    describe('running again', () => {
      const failing = (failures: number, wrap: (error: unknown) => unknown, sqlState = '40001') => {
        let runs = 0
        const definition = doing(async (sql) => {
          if (++runs > failures) return runs
          await sql(`insert into note (text) values ('again')`)
          return sql(`do $$ begin raise exception 'conflict' using errcode = '${sqlState}'; end $$`).catch((error: unknown) => {
            throw wrap(error)
          })
        })
        return { definition, runs: () => runs }
      }
      const plain = (error: unknown) => error

      test.each(['40001', '40P01'])('after %s, until it succeeds', async (sqlState) => {
        for (const options of [{}, { idempotencyKey: freshKey() }]) {
          const { definition } = failing(4, plain, sqlState)
          expect(await executeCommand(place, definition, {}, options)).toMatchObject({ result: 5, replayed: false })
          expect(await texts()).not.toContain('again')
        }
      })

      test('five times at most; the last error is thrown', async () => {
        const { definition, runs } = failing(99, plain)
        await expect(executeCommand(place, definition, {}, {})).rejects.toMatchObject({ sqlState: '40001' })
        expect(runs()).toBe(5)
      })

      test('also when a query builder wrapped the error', async () => {
        const { definition, runs } = failing(1, (cause) => new Error('Failed query', { cause }))
        await executeCommand(place, definition, {}, {})
        expect(runs()).toBe(2)
      })

      test('not after any other error', async () => {
        const { definition, runs } = failing(99, plain, '23514')
        await expect(executeCommand(place, definition, {}, {})).rejects.toMatchObject({ sqlState: '23514' })
        expect(runs()).toBe(1)
      })
    })

    describe('inside a command', () => {
      test('another command, the bulk door and whatever asks are refused', async () => {
        const nested = doing(async () => {
          expect(insideCommand()).toBe(true)
          expect(() => refuseInsideCommand('query("timeline")')).toThrow(/query\("timeline"\) inside the command do/)
          await expect(executeCommand(place, insert('nested'), {}, {})).rejects.toThrow(/execute\("do"\) inside the command do/)
          await expect(executeMany(place, insert('nested'), [{}], {})).rejects.toThrow(/inside the command do/)
        })
        await executeCommand(place, nested, {}, {})
        expect(insideCommand()).toBe(false)
      })

      test('is over for callbacks that outlive it', async () => {
        let end = () => {}
        const ended = new Promise<void>((resolve) => {
          end = resolve
        })
        let later: Promise<unknown> = Promise.resolve()
        const leaving = doing(() => {
          expect(insideCommand()).toBe(true)
          later = ended.then(() =>
            executeCommand(
              place,
              doing(() => insideCommand()),
              {},
              {},
            ),
          )
        })
        await executeCommand(place, leaving, {}, {})
        end()
        expect(await later).toMatchObject({ result: true })
        expect(insideCommand()).toBe(false)
      })

      test.each(['commit', 'rollback'])('%s is not for it to say', async (word) => {
        for (const options of [{}, { idempotencyKey: freshKey() }]) {
          await expect(
            executeCommand(
              place,
              doing((sql) => sql(word)),
              {},
              options,
            ),
          ).rejects.toBeInstanceOf(UsageError)
        }
      })
    })

    describe('the bulk door', () => {
      const bulk = (name: string) =>
        command('bulk', {
          input: z.object({ i: z.int() }),
          execute: async ({ i }, { client }) => {
            if (i === 17) throw reject('unlucky', { i })
            if (i === 18) throw new RangeError('broken')
            await client.query(`insert into ${place.own}.note (text, n) values ($1, $2)`, [`${name} ${i}`, i])
          },
        })
      const numbers = function* (from: number, to: number) {
        for (let i = from; i < to; i++) yield { i }
      }
      const written = async (name: string) => {
        const { rows } = await place.database.query<{ n: number }>(`select n from ${place.own}.note where text like $1 order by id`, [
          `${name} %`,
        ])
        return rows.map(({ n }) => n)
      }

      test('carries out all inputs in order, many to a transaction', async () => {
        const done: number[] = []
        const outcome = await executeMany(place, bulk('all'), numbers(20, 45), { batchSize: 10, onProgress: (n) => done.push(n) })
        expect(outcome).toEqual({ executed: 25, writes: [expect.anything(), expect.anything(), expect.anything()] })
        expect(done).toEqual([10, 20, 25])
        expect(await written('all')).toEqual(Array.from({ length: 25 }, (_, i) => i + 20))
      })

      test('takes no inputs, and leaves out batches that wrote nothing', async () => {
        expect(await executeMany(place, bulk('none'), [], {})).toEqual({ executed: 0, writes: [] })
        expect(
          await executeMany(
            place,
            doing(() => 1),
            [1, 2],
            {},
          ),
        ).toEqual({ executed: 2, writes: [] })
      })

      test('stops at a refusal, says where, and keeps the batches before', async () => {
        const error = await executeMany(place, bulk('stop'), numbers(0, 100), { batchSize: 10 }).catch((e: unknown) => e)
        expect(error).toBeInstanceOf(Rejection)
        expect(error).toMatchObject({
          code: 'unlucky',
          details: { index: 17, executed: 10, details: { i: 17 } },
          cause: { code: 'unlucky' },
        })
        expect(String(error)).toContain('input 17')
        expect(await written('stop')).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9])
      })

      test.each([
        ['an ordinary error', { i: 18 }, 'failed'],
        ['input that does not fit', { i: 'x' }, 'invalid_input'],
      ])('stops at %s', async (_what, bad, code) => {
        const error = await executeMany(place, bulk(`stop ${code}`), [{ i: 1 }, bad, { i: 2 }], {}).catch((e: unknown) => e)
        expect(error).toBeInstanceOf(HeadwaterError)
        expect(error).toMatchObject({ code, details: { index: 1, executed: 0 }, cause: expect.any(Error) })
        expect(await written(`stop ${code}`)).toEqual([])
      })

      test('runs a batch again after a serialization failure', async () => {
        let runs = 0
        const flaky = doing(async (sql, input) => {
          await sql(`insert into note (text) values ('flaky ${input}')`)
          if (input === 2 && ++runs < 3) await sql(`do $$ begin raise exception 'conflict' using errcode = '40001'; end $$`)
        })
        expect(await executeMany(place, flaky, [1, 2, 3], {})).toMatchObject({ executed: 3 })
        expect((await texts()).filter((text) => text.startsWith('flaky'))).toEqual(['flaky 1', 'flaky 2', 'flaky 3'])
      })
    })

    test('sweeps old keys only, in chunks', async () => {
      const kept = freshKey()
      await executeCommand(
        place,
        doing(() => 1),
        {},
        { idempotencyKey: kept },
      )
      await place.database.query(`insert into ${place.schema}.command (name, key, input_hash, state, created_at)
      select 'old', i::text, '', 'done', clock_timestamp() - interval '2 hours' from generate_series(1, 2500) i`)
      expect(await sweepCommands(place, 3_600_000)).toBe(2500)
      expect(await sweepCommands(place, 3_600_000)).toBe(0)
      expect(
        await executeCommand(
          place,
          doing(() => 2),
          {},
          { idempotencyKey: kept },
        ),
      ).toMatchObject({ result: 1, replayed: true })
    })

    test("keeps the old key of a reaction's command that may have to be sent again", async () => {
      await place.database.query(`insert into ${place.schema}.reaction (name, position) values ('remind', 0);
        insert into ${place.schema}.reaction_task (id, reaction, event_id, ordinal, position, key, due_at)
          values ('reaction/remind/e/0', 'remind', gen_random_uuid(), 0, 1, 'k', clock_timestamp());
        insert into ${place.schema}.command (name, key, input_hash, state, created_at)
          select 'send', 'reaction/remind/e/' || i, '', 'done', clock_timestamp() - interval '2 hours' from generate_series(0, 1) i`)
      expect(await sweepCommands(place, 3_600_000)).toBe(1)
      await place.database.query(`delete from ${place.schema}.reaction`)
      expect(await sweepCommands(place, 3_600_000)).toBe(1)
    })
  })
