import { aggregate, DatabaseUnavailableError, type LogLevel, OutcomeUnknownError, reject, UnknownEventError } from 'headwater'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { z } from 'zod'
import { executeCommand } from '../src/command/execute-command.ts'
import { deposit, openAccount, withdraw } from './support/account.ts'
import { databases } from './support/databases.ts'
import { type EventPlace, type EventProcess, eventPlace } from './support/event-place.ts'

for (const target of databases)
  describe.skipIf(target.skip)(`states on ${target.name}`, () => {
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

    /** A process that notes from which version on it reads streams. */
    const reading = () => {
      const reads: number[] = []
      const process = place.process({
        eventLog: (log) => ({
          readState: (name, stream, after = 0) => {
            reads.push(after)
            return log.readState(name, stream, after)
          },
        }),
      })
      return { process, reads }
    }
    const open = async (process: EventProcess, accountId = freshId()) => {
      await executeCommand(process, openAccount, { accountId, owner: 'Ann' }, {})
      return accountId
    }

    describe('in memory', () => {
      test('a hot stream is not read again', async () => {
        const { process, reads } = reading()
        const accountId = await open(process)
        for (let i = 0; i < 5; i++) await executeCommand(process, deposit, { accountId, amount: 1 }, {})
        expect(reads).toEqual([0])
        await expect(executeCommand(process, withdraw, { accountId, amount: 9 }, {})).rejects.toMatchObject({ details: { balance: 5 } })
        expect(reads).toEqual([0, 6])
      })

      test('a command that has begun streams eight times in a row does not look for the next, and is right nevertheless', async () => {
        const { process, reads } = reading()
        for (let i = 0; i < 12; i++) await open(process)
        expect(reads).toEqual([0, 0, 0, 0, 0, 0, 0, 0])
        // Another process was there first: the append finds out, the stream is read, and the guessing is over.
        const taken = await open(one)
        await expect(open(process, taken)).rejects.toMatchObject({ code: 'already_open' })
        expect(reads).toHaveLength(9)
        await open(process)
        expect(reads).toHaveLength(10)
      })

      test('what it refuses, or does nothing about, is decided on what is there', async () => {
        const { process, reads } = reading()
        for (let i = 0; i < 8; i++) {
          const missing = executeCommand(process, deposit, { accountId: freshId(), amount: 1 }, {})
          await expect(missing).rejects.toMatchObject({ code: 'account_not_open' })
        }
        const accountId = await open(one)
        await executeCommand(process, deposit, { accountId, amount: 7 }, {})
        await expect(executeCommand(one, withdraw, { accountId, amount: 8 }, {})).rejects.toMatchObject({ details: { balance: 7 } })
        expect(reads).toHaveLength(9)
      })

      test('a dropped one is', async () => {
        const { process, reads } = reading()
        const accountId = await open(process)
        process.states.clear()
        await executeCommand(process, deposit, { accountId, amount: 1 }, {})
        expect(reads).toEqual([0, 0])
      })

      test('what was appended while it was dropped is not kept', async () => {
        const process = place.process({
          eventLog: (log) => ({
            append: async (request) => {
              const outcome = await log.append(request)
              process.states.clear()
              return outcome
            },
          }),
        })
        await open(process)
        expect(process.states.size).toBe(0)
      })

      test.each([
        ['lost', () => new DatabaseUnavailableError('gone', 'statement'), 'database_unavailable'],
        ['lost in an append', () => new OutcomeUnknownError('append'), 'outcome_unknown'],
      ])('all are dropped when a connection was %s', async (_how, error, code) => {
        let failing = false
        const process = place.process({
          eventLog: (log) => ({ append: async (request) => (failing ? Promise.reject(error()) : log.append(request)) }),
        })
        const accountId = await open(process)
        await open(process)
        expect(process.states.size).toBe(2)
        failing = true
        await expect(executeCommand(process, deposit, { accountId, amount: 1 }, {})).rejects.toMatchObject({ code })
        expect(process.states.size).toBe(0)
      })

      test('all are dropped when a stream is shorter than it was, and the command decides on what is there', async () => {
        const process = place.process()
        const accountId = await open(one)
        for (let i = 0; i < 3; i++) await executeCommand(process, deposit, { accountId, amount: 1 }, {})
        await open(process)
        await place.database.query(`delete from ${place.schema}.event where stream = $1 and version > 2`, [`account-${accountId}`])
        const error = await executeCommand(process, withdraw, { accountId, amount: 9 }, {}).catch((e: unknown) => e)
        expect(error).toMatchObject({ code: 'insufficient_funds', details: { balance: 1 } })
        expect(process.states.size).toBe(1)
      })
    })

    const counter = (parts: object = {}) => {
      const made = aggregate('counter', {
        events: { Counted: z.object({ n: z.int() }) },
        initialState: () => ({ n: 0, list: [] as readonly unknown[] }),
        evolve: { Counted: (state, { n }) => ({ n: state.n + n, list: state.list }) },
        snapshot: { every: 5 },
        ...parts,
      })
      const count = made.command('count', {
        input: z.object({ id: z.string(), n: z.int() }),
        stream: ({ id }) => id,
        decide: (state, { n }, { events }) => (n < 0 ? reject('now', { n: state.n }) : [events.Counted({ n })]),
      })
      return { made, count }
    }
    type Counting = ReturnType<typeof counter>['count']
    const times = async (process: EventProcess, count: Counting, id: string, times: number) => {
      for (let i = 0; i < times; i++) await executeCommand(process, count, { id, n: 1 }, {})
      await process.snapshots.settled()
    }
    /** What the state says, to a process that has nothing in memory, and from which version on it read the stream. */
    const seenAfresh = async (count: Counting, id: string) => {
      const { process, reads } = reading()
      const { details } = (await executeCommand(process, count, { id, n: -1 }, {}).catch((e: unknown) => e)) as { details: { n: number } }
      return { n: details.n, readAfter: reads[0] }
    }
    const snapshotOf = async (id: string) => {
      const { rows } = await place.database.query(`select version, state from ${place.schema}.snapshot where stream = $1`, [id])
      return rows[0]
    }

    describe('in a snapshot', () => {
      test('are kept after each n events, and read from there on', async () => {
        const { count } = counter()
        const id = freshId()
        await times(one, count, id, 4)
        expect(await snapshotOf(id)).toBeUndefined()
        await times(one, count, id, 9)
        expect(await snapshotOf(id)).toEqual({ version: 10, state: { n: 10, list: [] } })
        expect(await seenAfresh(count, id)).toEqual({ n: 13, readAfter: 10 })
      })

      test('are made of a stream that was long before', async () => {
        const id = freshId()
        await times(one, counter({ snapshot: undefined }).count, id, 12)
        expect(await snapshotOf(id)).toBeUndefined()
        await times(place.process(), counter().count, id, 1)
        expect(await snapshotOf(id)).toMatchObject({ version: 12 })
      })

      test.each([
        ['evolve changed', { evolve: { Counted: (state: { n: number }, { n }: { n: number }) => ({ ...state, n: state.n + 2 * n }) } }, 10],
        ['the version was raised', { version: 2 }, 5],
      ])('are ignored when %s, and replaced', async (_how, parts, expected) => {
        const id = freshId()
        await times(one, counter().count, id, 5)
        expect(await seenAfresh(counter().count, id)).toEqual({ n: 5, readAfter: 5 })
        const { count } = counter(parts)
        expect(await seenAfresh(count, id)).toEqual({ n: expected, readAfter: 0 })
        await times(place.process(), count, id, 1)
        expect(await seenAfresh(count, id)).toMatchObject({ readAfter: 5 })
        expect(await seenAfresh(counter().count, id)).toMatchObject({ n: 6, readAfter: 0 })
      })

      test('that is ahead of its stream is not used', async () => {
        const { count, made } = counter()
        const id = freshId()
        await times(one, count, id, 2)
        one.snapshots.write({ model: made, stream: id, version: 9, state: { n: 99, list: [] } })
        await one.snapshots.settled()
        expect(await seenAfresh(count, id)).toEqual({ n: 2, readAfter: 9 })
      })

      test('never replace newer ones', async () => {
        const { count, made } = counter()
        const id = freshId()
        await times(one, count, id, 6)
        one.snapshots.write({ model: made, stream: id, version: 3, state: { n: 3, list: [] } })
        await one.snapshots.settled()
        expect(await snapshotOf(id)).toMatchObject({ version: 5 })
      })

      test('that is no plain JSON is said once, and no command fails', async () => {
        const said: [LogLevel, string][] = []
        const process = place.process({ log: (level, message) => level !== 'debug' && said.push([level, message]) })
        const { count } = counter({ evolve: { Counted: (state: { n: number }) => ({ n: state.n + 1, list: [new Map()] }) } })
        const id = freshId()
        await times(process, count, id, 11)
        expect(said).toEqual([['error', expect.stringMatching(/aggregate counter: no snapshots: state\.list\.0 is a Map/)]])
        expect(await snapshotOf(id)).toBeUndefined()
      })

      test('that cannot be written is said, and no command fails', async () => {
        const said: string[] = []
        const process = place.process({ log: (_level, message) => said.push(message) })
        const { count } = counter()
        await place.database.query(`alter table ${place.schema}.snapshot rename to mislaid`)
        try {
          // Reading one does fail, so the stream is in memory first.
          process.states.put('counter-mislaid', { state: { n: 0, list: [] }, version: 0, snapshotVersion: 0 }, process.states.epoch)
          await times(process, count, 'mislaid', 5)
        } finally {
          await place.database.query(`alter table ${place.schema}.mislaid rename to snapshot`)
        }
        expect(said).toEqual([expect.stringMatching(/snapshots were not written/)])
      })
    })

    describe('of old and of new events', () => {
      const first = aggregate('price', {
        events: { Priced: z.object({ euros: z.number() }) },
        initialState: () => 0,
        evolve: { Priced: (_state, { euros }) => euros },
      })
      const third = aggregate('price', {
        events: { Priced: z.object({ cents: z.int(), currency: z.string() }) },
        initialState: () => '',
        evolve: { Priced: (state, { cents, currency }) => `${state}${cents}${currency} ` },
        upcast: {
          Priced: [
            (old: { euros: number }) => ({ cents: Math.round(old.euros * 100) }),
            (old: { cents: number }) => ({ ...old, currency: 'EUR' }),
          ],
        },
      })
      const input = z.object({ id: z.string() })
      const stream = ({ id }: { id: string }) => id
      const priceThen = first.command('price', { input, stream, decide: (_state, _input, { events }) => [events.Priced({ euros: 1.5 })] })
      const priceNow = third.command('price', {
        input,
        stream,
        decide: (_state, _input, { events }) => [events.Priced({ cents: 7, currency: 'USD' })],
      })
      const look = third.command('look', { input, stream, decide: (state) => reject('seen', { state }) })

      test('old ones are upcast step by step, new ones are written in the newest version', async () => {
        const id = freshId()
        await executeCommand(one, priceThen, { id }, {})
        await executeCommand(place.process(), priceNow, { id }, {})
        await expect(executeCommand(place.process(), look, { id }, {})).rejects.toMatchObject({ details: { state: '150EUR 7USD ' } })
        const { events } = await one.eventLog.readStream('price', id)
        expect(events.map(({ schemaVersion, data }) => [schemaVersion, data])).toEqual([
          [1, { euros: 1.5 }],
          [3, { cents: 7, currency: 'USD' }],
        ])
      })

      test('newer ones than this code knows stop the command', async () => {
        const id = freshId()
        await executeCommand(one, priceNow, { id }, {})
        const error = await executeCommand(place.process(), priceThen, { id }, {}).catch((e: unknown) => e)
        expect(error).toBeInstanceOf(UnknownEventError)
        expect(error).toMatchObject({ details: { type: 'Priced', schemaVersion: 3 } })
        expect((await one.eventLog.readStream('price', id)).version).toBe(1)
      })
    })
  })
