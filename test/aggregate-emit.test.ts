import { command, DatabaseError, InvalidEventError, reject, UsageError } from 'headwater'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { z } from 'zod'
import { executeCommand } from '../src/command/execute-command.ts'
import { executeMany } from '../src/command/execute-many.ts'
import type { TableContext } from '../src/message/command.ts'
import { account, deposit, openAccount } from './support/account.ts'
import { databases } from './support/databases.ts'
import { type EventPlace, type EventProcess, eventPlace } from './support/event-place.ts'

const { AccountOpened, MoneyDeposited } = account.events

for (const target of databases)
  describe.skipIf(target.skip)(`emit on ${target.name}`, () => {
    let place: EventPlace
    let one: EventProcess
    let ids = 0
    const freshId = () => `id-${++ids}`

    beforeAll(async () => {
      place = await eventPlace(await target.open())
      one = place.process()
      await place.database.query(`create table ${place.schema}.note (text text not null unique)`)
    })
    afterAll(async () => {
      await place.database.close()
    })

    const note = (context: TableContext, text: string) =>
      context.client.query(`insert into ${place.schema}.note (text) values ($1)`, [text])
    const noted = async (text: string) =>
      (await place.database.query(`select from ${place.schema}.note where text = $1`, [text])).rowCount === 1
    const events = async (id: string) => (await one.eventLog.readStream('account', id)).events
    /** A command over tables that does `work` and notes its input. */
    const doing = (work: (id: string, context: TableContext) => unknown) =>
      command('do', {
        input: z.object({ id: z.string() }),
        execute: async ({ id }, context) => {
          await note(context, id)
          return work(id, context)
        },
      })
    const opening = doing((id, { emit }) => {
      emit(account, id, AccountOpened({ owner: 'Ann' }), MoneyDeposited({ amount: 1 }))
      emit(account, `${id}-other`, AccountOpened({ owner: 'Bob' }))
      emit(account, id, MoneyDeposited({ amount: 2 }))
      return 'done'
    })

    test.each(['keyed', 'unkeyed'])('appends with what the command wrote, in order, and tells the position, %s', async (kind) => {
      const id = freshId()
      const options = { context: { actor: 'ann' }, ...(kind === 'keyed' && { idempotencyKey: freshId() }) }
      const outcome = await executeCommand(one, opening, { id }, options)
      expect(outcome).toMatchObject({ result: 'done', replayed: false, position: (await one.eventLog.head()).position })
      expect(await noted(id)).toBe(true)
      expect((await events(id)).map(({ type, version, data }) => [type, version, data])).toEqual([
        ['AccountOpened', 1, { owner: 'Ann' }],
        ['MoneyDeposited', 2, { amount: 1, note: '' }],
        ['MoneyDeposited', 3, { amount: 2, note: '' }],
      ])
      expect((await events(`${id}-other`))[0]).toMatchObject({ metadata: { command: 'do', actor: 'ann' } })
      if (kind === 'unkeyed') return
      const again = await executeCommand(one, opening, { id }, options)
      expect(again).toMatchObject({ result: 'done', replayed: true, position: expect.any(Number) })
      expect(again.position).toBeGreaterThanOrEqual(outcome.position ?? Number.NaN)
      expect(await events(id)).toHaveLength(3)
    })

    test('needs no other write, and tells the transaction', async () => {
      const id = freshId()
      const only = command('only', {
        input: z.object({}),
        execute: async (_input, { emit }) => emit(account, id, AccountOpened({ owner: 'a' })),
      })
      const { write, position } = await executeCommand(one, only, {}, {})
      expect(write?.xid).toMatch(/^\d+$/)
      expect(position).toBeGreaterThan(0)
    })

    test('goes to the end of a stream that others write to, and their commands see it', async () => {
      const id = freshId()
      await executeCommand(one, openAccount, { accountId: id, owner: 'a' }, {})
      await executeCommand(
        one,
        doing((id, { emit }) => emit(account, id, MoneyDeposited({ amount: 5 }))),
        { id },
        {},
      )
      expect((await executeCommand(one, deposit, { accountId: id, amount: 1 }, {})).result).toEqual({ version: 3 })
    })

    test.each([
      [
        'refuses by throwing',
        () => {
          throw reject('no')
        },
        { code: 'no' },
      ],
      ['refuses by returning', () => reject('no'), { code: 'no' }],
      [
        'fails',
        () => {
          throw new RangeError('broken')
        },
        { message: 'broken' },
      ],
      ['has a result that is not JSON', () => new Map(), { code: 'usage' }],
    ])('appends nothing when the command %s', async (_how, end, error) => {
      for (const options of [{}, { idempotencyKey: freshId() }]) {
        const id = freshId()
        const ending = doing((id, { emit }) => {
          emit(account, id, AccountOpened({ owner: 'a' }))
          return end()
        })
        await expect(executeCommand(one, ending, { id }, options)).rejects.toMatchObject(error)
        expect(await events(id)).toEqual([])
        expect(await noted(id)).toBe(false)
      }
    })

    test('an event that its schema refuses fails the command', async () => {
      const id = freshId()
      const bad = doing((id, { emit }) => emit(account, id, MoneyDeposited({ amount: -1 })))
      await expect(executeCommand(one, bad, { id }, {})).rejects.toThrow(InvalidEventError)
      expect(await noted(id)).toBe(false)
    })

    test.each(['', 'x'.repeat(257), '__proto__', 3 as never])('a stream needs an id: %j', async (stream) => {
      const bad = doing((_id, { emit }) => emit(account, stream, AccountOpened({ owner: 'a' })))
      await expect(executeCommand(one, bad, { id: freshId() }, {})).rejects.toThrow(/emit\(\): the stream id/)
    })

    test('after the command has ended it is an error', async () => {
      let late: TableContext['emit'] | undefined
      await executeCommand(
        one,
        doing((_id, { emit }) => {
          late = emit
        }),
        { id: freshId() },
        {},
      )
      expect(() => late?.(account, 'late', AccountOpened({ owner: 'a' }))).toThrow(/after the command had ended/)
    })

    test('without a log it is an error', async () => {
      const { staging: _staging, ...without } = one
      await expect(executeCommand(without, opening, { id: freshId() }, {})).rejects.toThrow(/without an event log/)
    })

    test('a serialization failure at the commit runs the command again', async () => {
      const id = freshId()
      let stages = 0
      const flaky: EventProcess = {
        ...one,
        staging: {
          ...one.staging,
          stage: async (transaction, request) => {
            if (++stages > 1) return one.staging.stage(transaction, request)
            // As a row of a sync projection that has changed would.
            const [stream] = request.streams
            if (!stream) throw new RangeError('no stream')
            return one.staging.stage(transaction, { streams: [{ ...stream, expected: 17 }] })
          },
        },
      }
      expect(await executeCommand(flaky, opening, { id }, {})).toMatchObject({ result: 'done' })
      expect(stages).toBe(2)
      expect(await events(id)).toHaveLength(3)
    })

    test('is told after all when the answer about the position does not come at once', async () => {
      let takes = 0
      const take = async (id: string) => (++takes < 3 ? Promise.reject(new DatabaseError('57014', 'no')) : one.staging.take(id))
      const flaky = { ...one, staging: { ...one.staging, take } }
      expect((await executeCommand(flaky, opening, { id: freshId() }, {})).position).toBeGreaterThan(0)
      expect(takes).toBe(3)
    })

    test('a command sent from inside a command is refused', async () => {
      const id = freshId()
      const nested = doing(async (id) => executeCommand(one, openAccount, { accountId: id, owner: 'a' }, {}))
      await expect(executeCommand(one, nested, { id }, {})).rejects.toThrow(/inside the command do/)
      expect(await events(id)).toEqual([])
    })

    test('ifVersion is not for tables', async () => {
      await expect(executeCommand(one, opening, { id: freshId() }, { ifVersion: 1 })).rejects.toThrow(UsageError)
    })

    test('through the bulk door a batch appends as a whole', async () => {
      const inputs = Array.from({ length: 25 }, () => ({ id: freshId() }))
      const done = await executeMany(one, opening, inputs, { batchSize: 10 })
      expect(done).toMatchObject({ executed: 25, position: (await one.eventLog.head()).position })
      expect(done.writes).toHaveLength(3)
      for (const { id } of inputs) expect(await events(id)).toHaveLength(3)
      const [first] = inputs
      const more = [...Array.from({ length: 4 }, () => ({ id: freshId() })), { id: first?.id ?? '' }]
      await expect(executeMany(one, opening, more, {})).rejects.toMatchObject({ details: { executed: 0, index: 4 } })
      for (const { id } of more.slice(0, 4)) expect(await events(id)).toEqual([])
    })
  })
