import { type Database, HeadwaterError, reject, silentLog, systemClock, type } from 'headwater'
import { afterEach, beforeEach, describe, expect, expectTypeOf, test, vi } from 'vitest'
import { migrate } from '../src/database/migrate.ts'
import { DatabaseUnavailableError, UnknownEventError } from '../src/errors.ts'
import type { CommandMessage } from '../src/message/command.ts'
import type { Event, EventSource } from '../src/message/event.ts'
import { advance } from '../src/reaction/checkpoint.ts'
import { delayMs } from '../src/reaction/delay.ts'
import { type Reaction, reaction } from '../src/reaction/reaction.ts'
import type { ReactionOptions, ReactionRuntime } from '../src/reaction/reaction-runtime.ts'
import { ReactionWorker } from '../src/reaction/reaction-worker.ts'
import { givenReaction } from '../src/testing/given-reaction.ts'
import { databases, freshSchema } from './support/databases.ts'
import { type TableLog, tableLog } from './support/table-log.ts'
import { waitUntil } from './support/wait.ts'

const schemas = { Happened: type<{ readonly note: string; readonly n?: number }>(), Other: type<object>() }
const thing: EventSource<'thing', typeof schemas> = {
  aggregateName: 'thing',
  schemas,
  '~read': (event) => {
    if (event.schemaVersion > 1) throw new UnknownEventError(event, 'version 1')
    return event
  },
}
const write = (input: { readonly text: string; readonly mood?: string }): CommandMessage<'write'> => ({ command: 'write', input })

describe('a definition', () => {
  test('types flow from the events to the handlers', () => {
    reaction('typed', {
      from: [thing],
      on: {
        Happened: (event) => {
          expectTypeOf(event.data).toEqualTypeOf<{ readonly note: string; readonly n?: number }>()
          expectTypeOf(event.type).toEqualTypeOf<'Happened'>()
          return write({ text: event.data.note })
        },
        Other: () => undefined,
      },
      key: (event) => event.stream,
    })
    // @ts-expect-error no such event
    expect(() => reaction('typed', { from: [thing], on: { Happend: () => undefined } })).toThrow(/none of thing has an event Happend/)
    // @ts-expect-error a command is what comes out
    reaction('typed', { from: [thing], on: { Happened: () => 5 } })
    // @ts-expect-error handlers are synchronous
    reaction('typed', { from: [thing], on: { Happened: async () => undefined } })
  })

  test('reads delays, and refuses what is none', () => {
    expect(['30s', '5m', '2h', '3d', '3650d'].map((text) => delayMs('x', text))).toEqual([
      30_000, 300_000, 7_200_000, 259_200_000, 315_360_000_000,
    ])
    for (const text of ['', '3', 'd', '0s', '-1d', '1.5h', '3 d', '3D', '1w', '3651d', '1e3s'])
      expect(() => delayMs('reaction x', text), text).toThrow(/reaction x: "after" is .*'30s', '5m', '2h' or '3d'/)
    expect(() => reaction('x', { from: [thing], on: {}, after: 'soon' })).toThrow(/"soon"/)
  })

  test('givenReaction tells what it sends', () => {
    const echo = reaction('echo', {
      from: [thing],
      on: {
        Happened: ({ data, stream }) => {
          if (data.note === 'bad') throw new Error('bad note')
          return data.note === '' ? undefined : [write({ text: data.note }), write({ text: stream })]
        },
      },
    })
    const happened = { type: 'Happened', data: { note: 'a' }, stream: 's' }
    givenReaction(echo, happened).then(write({ text: 'a' }), write({ text: 's' }))
    givenReaction(echo, { ...happened, data: { note: '' } }).then()
    givenReaction(echo, { ...happened, data: { note: 'bad' } }).thenFails(/bad note/)
    expect(() => givenReaction(echo, happened).then(write({ text: 'b' }))).toThrow()
    expect(() => givenReaction(echo, { type: 'Nothing', data: {} }).then()).toThrow(/none of its aggregates/)
  })
})

for (const target of databases) {
  describe.skipIf(target.skip)(`on ${target.name}`, { timeout: 30_000 }, () => {
    let database: Database
    let log: TableLog
    let own: string
    let runtime: ReactionRuntime
    let mood: 'works' | 'fails' | 'refuses' = 'works'
    const workers: ReactionWorker[] = []

    /** As commands are carried out: once for a key, and a refusal is recorded too. */
    const send: ReactionRuntime['send'] = async ({ input }, { idempotencyKey }) => {
      const { text, mood: asked } = input as { readonly text: string; readonly mood?: string }
      const now = asked ?? mood
      if (now === 'fails') throw new Error('it rains')
      if (now === 'mad') throw new HeadwaterError('invalid_input', 'never')
      await database.query(`insert into ${own}.effect (key, text, refused) values ($1, $2, $3) on conflict (key) do nothing`, [
        idempotencyKey,
        text,
        now === 'refuses',
      ])
      if (now === 'refuses') throw reject('no')
    }

    beforeEach(async () => {
      mood = 'works'
      database = await target.open()
      own = freshSchema('own')
      const schema = freshSchema('headwater')
      await migrate(database, schema)
      await database.query(
        `create schema ${own}; create table ${own}.effect (id serial primary key, key text not null unique, text text not null, refused boolean not null)`,
      )
      log = await tableLog(database)
      runtime = {
        database,
        schema,
        clock: systemClock,
        log: silentLog,
        eventLog: {
          ...log,
          append: async () => Promise.reject(new Error('not here')),
          readStream: async () => ({ events: [], version: 0 }),
          readState: async () => ({ events: [], version: 0 }),
        },
        send,
      }
    })
    afterEach(async () => {
      await Promise.all(workers.splice(0).map((worker) => worker.stop()))
      await database.close()
    })

    async function run(
      reactions: readonly Reaction[],
      options: ReactionOptions = {},
      over: Partial<ReactionRuntime> = {},
    ): Promise<ReactionWorker> {
      const worker = new ReactionWorker({ ...runtime, ...over }, reactions, { pollIntervalMs: 10, retryMs: 1, attempts: 3, ...options })
      workers.push(worker)
      await worker.start()
      return worker
    }
    const happen = (stream: string, note: string) => log.happen({ type: 'Happened', stream, data: { note } })
    const effects = async () =>
      (await database.query<{ text: string }>(`select text from ${own}.effect order by id`)).rows.map(({ text }) => text)
    const tasks = async () =>
      (
        await database.query<{ state: string; key: string; error: string | null }>(
          `select state, key, error from "${runtime.schema}".reaction_task order by position, ordinal`,
        )
      ).rows
    const echo = reaction('echo', { from: [thing], on: { Happened: ({ data }) => write({ text: data.note }) } })

    test('begins at the head when first seen, and where it was when seen again, whatever its code', async () => {
      await happen('a', 'before')
      const first = await run([echo])
      await log.happen({ type: 'Other', stream: 'a' }, { type: 'Happened', stream: 'a', data: { note: 'one' } })
      await first.settle()
      await first.stop()
      await happen('a', 'two')
      const changed = reaction('echo', {
        from: [thing],
        on: { Happened: ({ data }) => [write({ text: `${data.note}!` }), write({ text: '?' })] },
      })
      const second = await run([changed])
      await second.settle()
      expect(await effects()).toEqual(['one', 'two!', '?'])
      expect(await tasks()).toEqual([])
    })

    test('a refusal is an answer', async () => {
      const worker = await run([echo])
      mood = 'refuses'
      await happen('a', 'no')
      await worker.settle()
      expect(await tasks()).toEqual([])
      const { rows } = await database.query(`select key, refused from ${own}.effect`)
      expect(rows).toEqual([{ refused: true, key: expect.stringMatching(/^reaction\/echo\/[0-9a-f-]{36}\/0$/) }])
    })

    test('a task of a newer release, whose command this process does not know, is left to one that does; parked when there is none', async () => {
      const outage = () => Promise.reject(new DatabaseUnavailableError('not now', 'statement'))
      const newer = await run([echo], {}, { send: outage })
      await happen('a', 'new')
      await waitUntil(async () => (await tasks()).length === 1)
      await newer.stop()
      const older = { send: () => Promise.reject(new HeadwaterError('unknown_command', 'there is no command write')) }
      let asked = 0
      const old = await run([echo], {}, { send: () => older.send().finally(() => asked++) })
      await waitUntil(
        async () => asked > 0 && (await database.query(`select from "${runtime.schema}".reaction where owner is null`)).rows.length === 1,
      )
      const again = await run([echo])
      await again.settle()
      expect(await effects()).toEqual(['new'])
      await again.stop()
      await old.stop()
      await happen('a', 'newest')
      const last = await run([echo], {}, { send: outage })
      await waitUntil(async () => (await tasks()).length === 1)
      await last.stop()
      const alone = await run([echo], {}, older)
      await alone.settle()
      expect(await tasks()).toMatchObject([{ state: 'parked', error: expect.stringMatching(/no command write/) }])
    })

    test('keeps the order of a key behind a failing command, while other keys go on; parks, lists, tries again', async () => {
      const worker = await run([echo])
      mood = 'fails'
      await log.happen(...['a1', 'a2', 'a3'].map((note) => ({ type: 'Happened', stream: 'a', data: { note } })))
      await worker.settle()
      const [parked, ...others] = await worker.parked('echo')
      expect(others).toEqual([])
      expect(parked).toMatchObject({
        reaction: 'echo',
        key: 'thing-a',
        position: 1,
        command: 'write',
        input: { text: 'a1' },
        attempts: 3,
        error: 'Error: it rains',
      })
      expect((await tasks()).map(({ state }) => state)).toEqual(['parked', 'waiting', 'waiting'])
      mood = 'works'
      await happen('b', 'b1')
      await worker.settle()
      expect(await effects()).toEqual(['b1'])
      expect(await worker.status()).toMatchObject([
        { name: 'echo', state: 'live', position: 4, waiting: 2, delayed: 0, parked: 1, error: null },
      ])
      await worker.retry('echo', parked?.id)
      await worker.settle()
      expect(await effects()).toEqual(['b1', 'a1', 'a2', 'a3'])
    })

    test('a command that is tried again later is not overtaken by those of its key', async () => {
      let fails = 2
      const sometimes: ReactionRuntime['send'] = async (message, options) => {
        if ((message.input as { text: string }).text === 'a1' && fails-- > 0) throw new Error('not yet')
        return await send(message, options)
      }
      const worker = await run([echo], { retryMs: 60 }, { send: sometimes })
      await log.happen(...['a1', 'a2', 'a3'].map((note) => ({ type: 'Happened', stream: 'a', data: { note } })))
      await worker.settle()
      expect(await effects()).toEqual(['a1', 'a2', 'a3'])
    })

    test('skips only with a reason, which stays on record', async () => {
      const worker = await run([
        reaction('mad', {
          from: [thing],
          on: { Happened: ({ data }) => write({ text: data.note, mood: data.note === 'a1' ? 'mad' : 'works' }) },
        }),
      ])
      await log.happen(...['a1', 'a2'].map((note) => ({ type: 'Happened', stream: 'a', data: { note } })))
      await worker.settle()
      const [parked] = await worker.parked()
      expect(parked?.attempts).toBe(1)
      const id = parked?.id ?? ''
      await expect(worker.skip('mad', id, ' ')).rejects.toThrow(/takes a reason/)
      await expect(worker.skip('mad', 'nothing', 'x')).rejects.toThrow(/nothing is parked/)
      await expect(worker.retry('nobody')).rejects.toThrow(/no reaction named/)
      await worker.skip('mad', id, 'the customer is gone')
      await worker.settle()
      expect(await effects()).toEqual(['a2'])
      expect(await tasks()).toEqual([
        { state: 'skipped', key: 'thing-a', error: expect.stringMatching(/^the customer is gone \(it was parked for: .*never/) },
      ])
    })

    test('parks the event when its handler throws, returns a promise or no command; the handler is asked again', async () => {
      let broken = true
      const fragile = reaction('fragile', {
        from: [thing],
        on: {
          Happened: ({ data }) => {
            if (!broken) return [write({ text: data.note }), write({ text: `${data.note}+` })]
            if (data.note === 'throws') throw new Error('oh no')
            if (data.note === 'promise') return Promise.reject(new Error('x')) as never
            if (data.note === 'text') return { command: 'write', input: { text: 'a\u0000b' } }
            return 'nonsense' as never
          },
        },
      })
      const worker = await run([fragile])
      for (const note of ['throws', 'promise', 'text', 'nonsense']) await happen(note, note)
      await worker.settle()
      expect((await worker.parked()).map(({ error }) => error)).toEqual([
        'Error: oh no',
        expect.stringMatching(/returned a promise/),
        expect.stringMatching(/the input of write at text contains the character U\+0000/),
        expect.stringMatching(/returned "nonsense"; return what a command makes/),
      ])
      await worker.retry('fragile', (await worker.parked())[0]?.id)
      expect((await worker.parked()).map(({ attempts }) => attempts)).toEqual([1, 0, 0, 0])
      broken = false
      await worker.retry('fragile')
      await worker.settle()
      expect((await effects()).toSorted()).toEqual(['nonsense', 'nonsense+', 'promise', 'promise+', 'text', 'text+', 'throws', 'throws+'])
      expect(await tasks()).toEqual([])
    })

    test('a delay is as durable as everything else, and by the database’s clock', async () => {
      const later = reaction('later', { from: [thing], on: { Happened: ({ data }) => write({ text: data.note }) }, after: '3d' })
      const first = await run([later])
      const [event] = await happen('a', 'patience')
      await first.settle()
      await first.stop()
      const due = (await database.query<{ due: string }>(`select due_at - interval '3 days' as due from "${runtime.schema}".reaction_task`))
        .rows[0]?.due
      expect(due).toBe(event?.time)
      const second = await run([later])
      await second.settle()
      expect([await effects(), (await second.status())[0]?.delayed]).toEqual([[], 1])
      await database.query(`update "${runtime.schema}".reaction_task set due_at = due_at - interval '3 days'`)
      await second.settle()
      expect(await effects()).toEqual(['patience'])
    })

    test('stops for an event it cannot read, at the event before, and gives its lease back', async () => {
      const worker = await run([echo])
      const [one, two, three] = ['one', 'two', 'three'].map((note) => ({ type: 'Happened', stream: 'a', data: { note } }))
      await log.happen(one as never, { ...two, schemaVersion: 2 } as never, three as never)
      await vi.waitFor(async () => expect((await worker.status())[0]?.error).toMatch(/position 2.*deploy/), { timeout: 10_000 })
      await worker.settle()
      const { rows } = await database.query(`select owner, position from "${runtime.schema}".reaction`)
      expect(rows).toEqual([{ owner: null, position: 1 }])
      await database.query(`update ${log.table} set event = jsonb_set(event::jsonb, '{schemaVersion}', '1')::json where position = 2`)
      worker.resume('echo')
      await worker.settle()
      expect(await effects()).toEqual(['one', 'two', 'three'])
      expect((await worker.status())[0]?.error).toBeNull()
    })

    test('stops when a key cannot be told', async () => {
      const worker = await run([
        reaction('keyed', { from: [thing], on: { Happened: () => undefined }, key: ({ stream }) => (stream === 'bad' ? '' : stream) }),
      ])
      await happen('good', 'x')
      await happen('bad', 'x')
      await vi.waitFor(
        async () =>
          expect((await worker.status())[0]).toMatchObject({
            state: 'stopped',
            position: 1,
            error: expect.stringMatching(/position 2 .*its key is ""/),
          }),
        { timeout: 10_000 },
      )
    })

    test('refuses a log that does not hold what it has reacted to, until it is told', async () => {
      const first = await run([echo])
      await happen('a', 'one')
      await first.settle()
      await first.stop()
      await database.query(`delete from ${log.table}`)
      await happen('a', 'another first')
      await happen('a', 'another second')
      const second = await run([echo])
      await vi.waitFor(async () => expect((await second.status())[0]?.error).toMatch(/restored or replaced: accept\(\)/), {
        timeout: 10_000,
      })
      expect(await effects()).toEqual(['one'])
      await second.accept('echo')
      await happen('a', 'third')
      await second.settle()
      expect(await effects()).toEqual(['one', 'third'])
    })

    test('of two that advance from one checkpoint, one does; the other writes nothing', async () => {
      const worker = await run([echo])
      await worker.stop()
      const [event] = (await happen('a', 'x')) as [Event]
      const start = { position: 0, eventId: null }
      const step = (text: string) =>
        advance(runtime, { name: 'echo', afterMs: 0 }, start, { position: 1, eventId: event.id }, [
          { event, handled: { key: 'a', outcome: { messages: [write({ text }), write({ text })] } } },
        ])
      expect((await Promise.all([step('first'), step('second'), step('third')])).filter(Boolean)).toHaveLength(1)
      expect(await tasks()).toHaveLength(2)
    })

    test('a database that goes away for a while costs no try', async () => {
      let out = 2
      const sometimes: ReactionRuntime['send'] = async (message, options) => {
        if (out-- > 0) throw new HeadwaterError('database_unavailable', 'gone')
        return await send(message, options)
      }
      const worker = await run([echo], { attempts: 1 }, { send: sometimes })
      await happen('a', 'x')
      await worker.settle()
      expect(await effects()).toEqual(['x'])
    })

    test('settles chains of reactions', async () => {
      const chain = reaction('chain', { from: [thing], on: { Happened: ({ data }) => write({ text: data.note }) } })
      const sometimes: ReactionRuntime['send'] = async (message, options) => {
        const n = Number((message.input as { text: string }).text)
        if (n > 0) await happen('chain', String(n - 1))
        return await send(message, options)
      }
      const worker = await run([chain], {}, { send: sometimes })
      await happen('chain', '12')
      await worker.settle()
      expect(await effects()).toEqual(['12', '11', '10', '9', '8', '7', '6', '5', '4', '3', '2', '1', '0'])
    })
  })
}
