import { HandlerError, InvalidEventError, Rejection, reject, type, UsageError, VersionConflictError } from 'headwater'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { z } from 'zod'
import { refuseInsideCommand, runInside } from '../src/command/command-scope.ts'
import { executeCommand } from '../src/command/execute-command.ts'
import type { AppendOutcome, AppendRequest } from '../src/log/log.ts'
import { account, closeAccount, deposit, openAccount, withdraw } from './support/account.ts'
import { databases } from './support/databases.ts'
import { type EventPlace, type EventProcess, eventPlace } from './support/event-place.ts'

for (const target of databases)
  describe.skipIf(target.skip)(`commands of aggregates on ${target.name}`, () => {
    let place: EventPlace
    let one: EventProcess
    let ids = 0
    const freshId = () => `id-${++ids}`

    beforeAll(async () => {
      place = await eventPlace(await target.open())
      one = place.process()
    })
    afterAll(async () => {
      await place.database.close()
    })

    const stream = async (id: string) => (await one.eventLog.readStream('account', id)).events
    const open = async (process = one, accountId = freshId(), amount?: number) => {
      await executeCommand(process, openAccount, { accountId, owner: 'Ann' }, {})
      if (amount !== undefined) await executeCommand(process, deposit, { accountId, amount }, {})
      return accountId
    }
    /** A command on the account that decides what `decide` says. */
    const deciding = (decide: (balance: number, calls: number) => unknown) => {
      let calls = 0
      return account.command('do', {
        input: z.object({ accountId: z.string() }),
        stream: ({ accountId }) => accountId,
        decide: (state) => decide(state.balance, ++calls) as [],
      })
    }
    const settled = (calls: readonly Promise<unknown>[]) => Promise.allSettled(calls)
    const won = (ended: readonly PromiseSettledResult<unknown>[]) => ended.filter(({ status }) => status === 'fulfilled').length

    describe('a decision', () => {
      test('is appended, and tells version, position and transaction', async () => {
        const accountId = freshId()
        const outcome = await executeCommand(one, openAccount, { accountId, owner: 'Ann' }, {})
        expect(outcome).toEqual({
          result: { version: 1 },
          write: { xid: expect.stringMatching(/^\d+$/), fanOut: false },
          position: (await one.eventLog.head()).position,
          replayed: false,
        })
        const { rows } = await place.database.query('select pg_xact_status($1::text::xid8) as status', [outcome.write?.xid])
        expect(rows).toEqual([{ status: 'committed' }])
        expect((await executeCommand(one, deposit, { accountId, amount: 3 }, {})).result).toEqual({ version: 2 })
        expect(await stream(accountId)).toMatchObject([
          { type: 'AccountOpened', version: 1, data: { owner: 'Ann' }, schemaVersion: 1 },
          { type: 'MoneyDeposited', version: 2, data: { amount: 3, note: '' } },
        ])
      })

      test('of several events is one append, and one version for each', async () => {
        const accountId = freshId()
        const twice = deciding(() => [account.events.AccountOpened({ owner: 'a' }), account.events.MoneyDeposited({ amount: 2 })])
        expect((await executeCommand(one, twice, { accountId }, {})).result).toEqual({ version: 2 })
        expect(await stream(accountId)).toHaveLength(2)
      })

      test('knows who asked and why', async () => {
        const accountId = freshId()
        const context = { actor: 'ann', correlationId: 'c-1', other: 3 }
        await executeCommand(one, openAccount, { accountId, owner: 'Ann' }, { context, causationId: 'e-1' })
        await executeCommand(one, deposit, { accountId, amount: 1 }, {})
        expect((await stream(accountId)).map(({ metadata }) => metadata)).toEqual([
          { command: 'openAccount', actor: 'ann', correlationId: 'c-1', causationId: 'e-1' },
          { command: 'deposit' },
        ])
      })

      test('of no event is success without an append', async () => {
        const accountId = await open()
        await executeCommand(one, closeAccount, { accountId }, {})
        const before = await one.eventLog.head()
        expect(await executeCommand(one, closeAccount, { accountId }, {})).toEqual({
          result: { version: 2 },
          write: undefined,
          position: undefined,
          replayed: false,
        })
        expect(await one.eventLog.head()).toEqual(before)
      })

      test.each([
        ['thrown', withdraw, { code: 'insufficient_funds', details: { balance: 0 } }],
        ['returned', openAccount, { code: 'already_open' }],
      ])('that is a refusal, %s, writes nothing', async (_how, definition, refusal) => {
        const accountId = await open()
        const error = await executeCommand(one, definition, { accountId, owner: 'Bob', amount: 5 }, {}).catch((e: unknown) => e)
        expect(error).toBeInstanceOf(Rejection)
        expect(error).toMatchObject(refusal)
        expect(await stream(accountId)).toHaveLength(1)
      })

      test('is refused for wrong input, and for a stream without an id', async () => {
        await expect(executeCommand(one, deposit, { accountId: 'a', amount: -1 }, {})).rejects.toMatchObject({ code: 'invalid_input' })
        for (const accountId of ['', 'x'.repeat(257), '\u0000', '__proto__']) {
          await expect(executeCommand(one, openAccount, { accountId, owner: 'a' }, {})).rejects.toMatchObject({ code: 'invalid_input' })
        }
      })

      test.each([
        [
          'gives an event that its schema refuses',
          () => [account.events.MoneyDeposited({ amount: -1 })],
          InvalidEventError,
          /MoneyDeposited\.amount/,
        ],
        [
          'gives an event of another aggregate',
          () => [{ type: 'Nonsense', data: {} }],
          InvalidEventError,
          /Nonsense.*there is: AccountOpened/,
        ],
        ['gives a promise', () => Promise.reject(new Error('late')), UsageError, /do: decide returned a promise/],
        ['gives one event, not a list', () => account.events.AccountClosed({}), UsageError, /decide returned object/],
        ['gives nothing', () => undefined, UsageError, /decide returned undefined/],
        ['refuses with what is not JSON', () => reject('no', new Map()), UsageError, /not plain JSON/],
        ['breaks', () => JSON.parse('{'), SyntaxError, /JSON/],
      ])('that %s is an error, and nothing is written', async (_what, decide, kind, message) => {
        const accountId = await open()
        const error = await executeCommand(one, deciding(decide), { accountId }, {}).catch((e: unknown) => e)
        expect(error).toBeInstanceOf(kind)
        expect((error as Error).message).toMatch(message)
        expect(await stream(accountId)).toHaveLength(1)
      })

      test('whose events cannot be evolved is not appended', async () => {
        const accountId = freshId()
        const unevolvable = () => {
          throw new HandlerError('cannot')
        }
        const broken = Object.assign((input: { accountId: string; owner: string }) => openAccount(input), openAccount, {
          '~model': { ...openAccount['~model'], '~evolve': unevolvable },
        })
        await expect(executeCommand(one, broken, { accountId, owner: 'a' }, {})).rejects.toThrow('cannot')
        expect(await stream(accountId)).toEqual([])
      })

      test('cannot change the state that the next one sees', async () => {
        const accountId = await open()
        const careless = account.command('careless', {
          input: z.object({ accountId: z.string() }),
          stream: ({ accountId }) => accountId,
          decide(state) {
            ;(state as { balance: number }).balance = 1_000_000
            return []
          },
        })
        // As this process appended it, and as another one reads it.
        for (const process of [one, place.process()]) {
          await expect(executeCommand(process, careless, { accountId }, {})).rejects.toThrow(TypeError)
          await expect(executeCommand(process, withdraw, { accountId, amount: 5 }, {})).rejects.toMatchObject({
            code: 'insufficient_funds',
          })
        }
      })

      test('is not made inside another command, and not without a log', async () => {
        await expect(runInside('outer', () => executeCommand(one, openAccount, { accountId: 'x', owner: 'a' }, {}))).rejects.toThrow(
          /inside the command outer/,
        )
        expect(() => refuseInsideCommand('x')).not.toThrow()
        const { eventLog: _without, ...rest } = one
        await expect(executeCommand(rest, openAccount, { accountId: 'x', owner: 'a' }, {})).rejects.toThrow(/without an event log/)
      })
    })

    describe('at once', () => {
      test('two processes never both spend the same money', async () => {
        const other = place.process()
        const accountId = await open(one, freshId(), 100)
        const calls = Array.from({ length: 40 }, (_, i) => executeCommand(i % 2 ? one : other, withdraw, { accountId, amount: 10 }, {}))
        const ended = await settled(calls)
        expect(won(ended)).toBe(10)
        for (const end of ended) if (end.status === 'rejected') expect(end.reason).toMatchObject({ code: 'insufficient_funds' })
        const events = await stream(accountId)
        expect(events.map(({ version }) => version)).toEqual(events.map((_, i) => i + 1))
        expect(events.filter(({ type }) => type === 'MoneyWithdrawn')).toHaveLength(10)
      })

      test('two creators of one stream: one wins, many times', async () => {
        const other = place.process()
        const names = Array.from({ length: 50 }, freshId)
        const calls = names.map((accountId) =>
          settled([one, other].map((process) => executeCommand(process, openAccount, { accountId, owner: 'a' }, {}))),
        )
        for (const ended of await Promise.all(calls)) expect(won(ended)).toBe(1)
      })

      test('commands of one process take turns: no conflict among themselves', async () => {
        const outcomes: string[] = []
        const watched = place.process({
          eventLog: (log) => ({
            append: async (request) => {
              const outcome = await log.append(request)
              outcomes.push(outcome.status)
              return outcome
            },
          }),
        })
        const accountId = await open(watched)
        await Promise.all(Array.from({ length: 30 }, () => executeCommand(watched, deposit, { accountId, amount: 1 }, {})))
        expect(outcomes).toEqual(Array.from({ length: 31 }, () => 'appended'))
        expect(watched.states.turns.size).toBe(0)
        expect(await stream(accountId)).toHaveLength(31)
      })

      test('a turn passes on when a command fails', async () => {
        const accountId = freshId()
        const ended = await settled([
          executeCommand(one, deposit, { accountId, amount: 1 }, {}),
          executeCommand(one, openAccount, { accountId, owner: 'a' }, {}),
          executeCommand(one, deposit, { accountId, amount: 1 }, {}),
        ])
        expect(ended.map(({ status }) => status)).toEqual(['rejected', 'fulfilled', 'fulfilled'])
      })
    })

    /** A process whose appends are answered by `answers` first, one after the other. */
    const answering = (answers: readonly AppendOutcome['status'][]) => {
      const asked: AppendRequest[] = []
      const process = place.process({
        eventLog: (log) => ({
          append: async (request) => {
            const status = answers[asked.push(request) - 1] ?? 'appended'
            if (status === 'conflict') return { status, aggregate: 'account', stream: 'x', expected: 0, actual: 99 }
            if (status === 'stale' || status === 'duplicate') return { status }
            return log.append(request)
          },
        }),
      })
      return { process, asked }
    }

    describe('a conflict', () => {
      test('is decided again on the newer state', async () => {
        const other = place.process()
        const accountId = await open(one, freshId(), 10)
        await executeCommand(other, deposit, { accountId, amount: 10 }, {})
        let seen: number[] = []
        const look = deciding((balance) => {
          seen = [...seen, balance]
          return [account.events.MoneyDeposited({ amount: 1 })]
        })
        expect((await executeCommand(one, look, { accountId }, {})).result).toEqual({ version: 4 })
        expect(seen).toEqual([10, 20])
      })

      test.each(['conflict', 'stale'] as const)('and %s are retried ten times at most', async (status) => {
        const few = answering(Array.from({ length: 9 }, () => status))
        await executeCommand(few.process, openAccount, { accountId: freshId(), owner: 'a' }, {})
        expect(few.asked).toHaveLength(10)
        const many = answering(Array.from({ length: 20 }, () => status))
        const error = await executeCommand(many.process, openAccount, { accountId: freshId(), owner: 'a' }, {}).catch((e: unknown) => e)
        expect(error).toBeInstanceOf(VersionConflictError)
        expect(many.asked).toHaveLength(10)
      })

      test('with ifVersion is an error at once, whether seen before or in the append', async () => {
        const accountId = await open(one, freshId(), 10)
        const options = { ifVersion: 2 }
        expect((await executeCommand(one, deposit, { accountId, amount: 1 }, options)).result).toEqual({ version: 3 })
        const error = await executeCommand(one, deposit, { accountId, amount: 1 }, options).catch((e: unknown) => e)
        expect(error).toMatchObject({ code: 'version_conflict', details: { stream: accountId, expected: 2, actual: 3 } })
        await executeCommand(place.process(), deposit, { accountId, amount: 1 }, {})
        // The cache still says 3.
        await expect(executeCommand(one, deposit, { accountId, amount: 1 }, { ifVersion: 3 })).rejects.toThrow(VersionConflictError)
        const raced = answering(['conflict'])
        await expect(executeCommand(raced.process, deposit, { accountId, amount: 1 }, { ifVersion: 4 })).rejects.toThrow(
          VersionConflictError,
        )
        expect(raced.asked).toHaveLength(1)
        expect(await stream(accountId)).toHaveLength(4)
      })

      test('with ifVersion: a stale sync row alone is no conflict', async () => {
        const accountId = await open()
        const { process, asked } = answering(['stale'])
        expect((await executeCommand(process, deposit, { accountId, amount: 1 }, { ifVersion: 1 })).result).toEqual({ version: 2 })
        expect(asked).toHaveLength(2)
      })

      test('ifVersion is a version, of a stream', async () => {
        const accountId = await open()
        for (const ifVersion of [-1, 0.5, Number.NaN, '1' as never]) {
          await expect(executeCommand(one, deposit, { accountId, amount: 1 }, { ifVersion })).rejects.toMatchObject({
            code: 'invalid_input',
          })
        }
      })

      test('with ifVersion 0 only creates', async () => {
        const accountId = await open()
        await expect(executeCommand(one, closeAccount, { accountId }, { ifVersion: 0 })).rejects.toThrow(VersionConflictError)
      })
    })

    describe('what is not appended', () => {
      test('is never decided on an old state: a refusal', async () => {
        const accountId = freshId()
        await expect(executeCommand(one, deposit, { accountId, amount: 1 }, {})).rejects.toMatchObject({ code: 'account_not_open' })
        await open(place.process(), accountId)
        expect((await executeCommand(one, deposit, { accountId, amount: 1 }, {})).result).toEqual({ version: 2 })
      })

      test('is never decided on an old state: nothing to do, and a failure', async () => {
        const other = place.process()
        const accountId = await open()
        const until = deciding((balance) => (balance > 0 ? [account.events.AccountClosed({})] : []))
        const breaks = deciding((balance) => (balance > 0 ? [] : JSON.parse('{')))
        expect((await executeCommand(one, until, { accountId }, {})).result).toEqual({ version: 1 })
        await executeCommand(other, deposit, { accountId, amount: 1 }, {})
        expect((await executeCommand(one, breaks, { accountId }, {})).result).toEqual({ version: 2 })
        await executeCommand(other, deposit, { accountId, amount: 1 }, {})
        expect((await executeCommand(one, until, { accountId }, {})).result).toEqual({ version: 4 })
      })
    })

    describe('an idempotency key', () => {
      const key = () => ({ idempotencyKey: freshId() })

      test('answers what happened the first time, in any process, without doing it again', async () => {
        const accountId = await open()
        const options = key()
        const first = await executeCommand(one, deposit, { accountId, amount: 5 }, options)
        await executeCommand(one, deposit, { accountId, amount: 1 }, {})
        const again = await executeCommand(place.process(), deposit, { amount: 5, accountId }, options)
        expect(first).toMatchObject({ result: { version: 2 }, replayed: false })
        expect(again).toEqual({ result: { version: 2 }, write: first.write, position: expect.any(Number), replayed: true })
        expect(again.position).toBeGreaterThanOrEqual(first.position ?? Number.NaN)
        expect(await stream(accountId)).toHaveLength(3)
      })

      test('answers though the command would be refused, break or conflict now', async () => {
        const accountId = freshId()
        const options = { ...key(), ifVersion: 0 }
        await executeCommand(one, openAccount, { accountId, owner: 'a' }, options)
        expect(await executeCommand(one, openAccount, { accountId, owner: 'a' }, options)).toMatchObject({ replayed: true })
        const { ifVersion: _, ...plain } = options
        expect(await executeCommand(one, openAccount, { accountId, owner: 'a' }, plain)).toMatchObject({
          result: { version: 1 },
          replayed: true,
        })
        const once = deciding((_balance, calls) => (calls === 1 ? [account.events.AccountClosed({})] : JSON.parse('{')))
        const other = key()
        await executeCommand(one, once, { accountId }, other)
        expect(await executeCommand(one, once, { accountId }, other)).toMatchObject({ result: { version: 2 }, replayed: true })
      })

      test('is refused with another input', async () => {
        const accountId = await open()
        const options = key()
        await executeCommand(one, deposit, { accountId, amount: 5 }, options)
        for (const input of [
          { accountId, amount: 6 },
          { accountId: await open(), amount: 5 },
        ]) {
          await expect(executeCommand(one, deposit, input, options)).rejects.toMatchObject({ code: 'idempotency_key_reused' })
        }
      })

      test('records a refusal, with its details, for good', async () => {
        const accountId = await open()
        const options = key()
        const refused = { code: 'insufficient_funds', details: { balance: 0 } }
        await expect(executeCommand(one, withdraw, { accountId, amount: 5 }, options)).rejects.toMatchObject(refused)
        await executeCommand(one, deposit, { accountId, amount: 5 }, {})
        await expect(executeCommand(one, withdraw, { accountId, amount: 5 }, options)).rejects.toMatchObject(refused)
        await expect(executeCommand(place.process(), withdraw, { accountId, amount: 5 }, options)).rejects.toBeInstanceOf(Rejection)
        expect(await stream(accountId)).toHaveLength(2)
      })

      test('records that there was nothing to do', async () => {
        const accountId = await open()
        await executeCommand(one, closeAccount, { accountId }, {})
        const options = key()
        expect(await executeCommand(one, closeAccount, { accountId }, options)).toMatchObject({ result: { version: 2 }, replayed: false })
        expect(await executeCommand(one, closeAccount, { accountId }, options)).toMatchObject({ result: { version: 2 }, replayed: true })
      })

      test('is free after a failure', async () => {
        const accountId = await open()
        const options = key()
        const flaky = deciding((_balance, calls) => (calls <= 1 ? JSON.parse('{') : [account.events.AccountClosed({})]))
        await expect(executeCommand(one, flaky, { accountId }, options)).rejects.toThrow(SyntaxError)
        expect(await executeCommand(one, flaky, { accountId }, options)).toMatchObject({ replayed: false })
      })

      test('used many times at once in two processes takes effect once', async () => {
        const other = place.process()
        const accountId = await open()
        const options = key()
        const calls = Array.from({ length: 20 }, (_, i) => executeCommand(i % 2 ? one : other, deposit, { accountId, amount: 5 }, options))
        const outcomes = await Promise.all(calls)
        expect(new Set(outcomes.map(({ result }) => JSON.stringify(result)))).toEqual(new Set(['{"version":2}']))
        expect(outcomes.filter(({ replayed }) => !replayed)).toHaveLength(1)
        expect(await stream(accountId)).toHaveLength(2)
      })

      test('that is taken, but by nobody that answers, is said so in the end', async () => {
        const { process } = answering(Array.from({ length: 20 }, () => 'duplicate' as const))
        await expect(executeCommand(process, openAccount, { accountId: freshId(), owner: 'a' }, key())).rejects.toMatchObject({
          sqlState: '55P03',
        })
      })

      test('is 1 to 256 bytes, and its input has a hash', async () => {
        await expect(executeCommand(one, deposit, { accountId: 'a', amount: 1 }, { idempotencyKey: '' })).rejects.toMatchObject({
          code: 'invalid_input',
        })
        const odd = account.command('odd', { input: type<{ at: unknown }>(), stream: () => 'a', decide: () => [] })
        await expect(executeCommand(one, odd, { at: 1n }, key())).rejects.toThrow(UsageError)
      })
    })
  })
