import { aggregate, DefinitionError, type Event, HandlerError, InvalidEventError, type Schema, type, UnknownEventError } from 'headwater'
import { describe, expect, test } from 'vitest'
import { z } from 'zod'
import { account, deposit } from './support/account.ts'

const n = z.object({ n: z.int() })
const counted = (parts: object = {}, name = 'counter') =>
  aggregate(name, { events: { Counted: n }, initialState: () => 0, evolve: { Counted: (state, data) => state + data.n }, ...parts })
const stored = (parts: Partial<Event>): Event => ({
  id: '00000000-0000-4000-8000-000000000000',
  aggregate: 'counter',
  stream: 'a',
  version: 1,
  position: 7,
  time: '2026-01-01T00:00:00.000000Z',
  schemaVersion: 1,
  metadata: {},
  type: 'Counted',
  data: { n: 1 },
  ...parts,
})
const caught = (work: () => unknown): unknown => {
  try {
    return work()
  } catch (error) {
    return error
  }
}

describe('a definition', () => {
  test('has makers, schemas and callable commands', () => {
    expect(account.events.MoneyDeposited({ amount: 1 })).toEqual({ type: 'MoneyDeposited', data: { amount: 1 } })
    expect(Object.keys(account.schemas)).toEqual(['AccountOpened', 'MoneyDeposited', 'MoneyWithdrawn', 'AccountClosed'])
    expect(deposit({ accountId: 'a', amount: 3 })).toEqual({ command: 'deposit', input: { accountId: 'a', amount: 3 } })
    expect(deposit['~kind']).toBe('events')
  })

  test.each([
    ['a name with a hyphen', () => counted({}, 'bank-account'), /bank-account/],
    ['a name with a blank', () => counted({}, 'bank account'), /letters, digits/],
    ['an empty name', () => counted({}, ''), /letters, digits/],
    ['a type that no name can be', () => counted({ events: { 'a b': n }, evolve: { 'a b': () => 0 } }), /a b/],
    ['a type that is a trap', () => counted({ events: { constructor: n }, evolve: { constructor: () => 0 } }), /constructor/],
    ['no events', () => counted({ events: {}, evolve: {} }), /no events/],
    ['a type without evolve', () => counted({ evolve: {} }), /evolve has nothing for the event Counted/],
    ['evolve for no type', () => counted({ evolve: { Counted: () => 0, Other: () => 0 } }), /Other/],
    ['upcast for no type', () => counted({ upcast: { Other: [() => 0] } }), /Other/],
    ['snapshots after none', () => counted({ snapshot: { every: 0 } }), /snapshot.every/],
    ['a version that is none', () => counted({ version: 1.5 }), /version/],
    ['a command with a bad name', () => account.command('a b', { input: n, stream: () => 'a', decide: () => [] }), /command "a b"/],
  ])('refuses %s', (_what, make, message) => {
    const error = caught(make)
    expect(error).toBeInstanceOf(DefinitionError)
    expect((error as Error).message).toMatch(message)
  })

  test('has a fingerprint that changes with its code and its version, and with nothing else', () => {
    const prints = [
      counted(),
      counted({ version: 2 }),
      counted({ evolve: { Counted: (state: number, data: { n: number }) => state + data.n + 1 } }),
      counted({ initialState: () => 1 }),
      counted({ upcast: { Counted: [(data: { m: number }) => ({ n: data.m })] } }),
    ].map((made) => made['~fingerprint'])
    expect(new Set(prints).size).toBe(5)
    expect(counted({ snapshot: { every: 3 } }, 'other')['~fingerprint']).toBe(prints[0])
  })

  test('evolve must give a state at once', () => {
    for (const next of [undefined, Promise.resolve(1)]) {
      const bad = counted({ evolve: { Counted: () => next } })
      expect(() => bad['~evolve'](0, { type: 'Counted', data: { n: 1 } })).toThrow(HandlerError)
    }
  })
})

describe('a new event', () => {
  test('is what its schema makes of it', () => {
    expect(account['~write'](account.events.MoneyDeposited({ amount: 1 }))).toEqual({
      type: 'MoneyDeposited',
      schemaVersion: 1,
      data: { amount: 1, note: '' },
    })
  })

  test('is refused by its schema with type and path', () => {
    const error = caught(() => account['~write']({ type: 'MoneyDeposited', data: { amount: 1, note: 3 } }))
    expect(error).toBeInstanceOf(InvalidEventError)
    expect(error).toMatchObject({
      code: 'invalid_event',
      message: expect.stringContaining('account: event MoneyDeposited.note: '),
      issues: [{ path: ['note'] }],
      details: { aggregate: 'account', type: 'MoneyDeposited' },
    })
  })

  test.each([{ type: 'Nonsense', data: {} }, { type: 'toString', data: {} }, {}, undefined, null, 'AccountOpened'])(
    'is none: %j',
    (event) => {
      expect(() => account['~write'](event as never)).toThrow(InvalidEventError)
    },
  )

  const anything = aggregate('anything', { events: { Any: type<unknown>() }, initialState: () => 0, evolve: { Any: (state) => state } })
  const circle: Record<string, unknown> = {}
  circle.self = circle

  test.each([
    ['a date', { a: { at: new Date(0) } }, ['a', 'at']],
    ['undefined in a list', { list: [1, undefined] }, ['list', 1]],
    ['NaN', { n: Number.NaN }, ['n']],
    ['an infinity', { n: -Infinity }, ['n']],
    ['a bigint', { n: 1n }, ['n']],
    ['a function', { f: () => 0 }, ['f']],
    ['a map', { m: new Map() }, ['m']],
    ['an instance', { url: new URL('http://a') }, ['url']],
    ['nothing at all', undefined, []],
    ['U+0000', { a: ['\u0000'] }, ['a', 0]],
    ['half a character', { a: '\ud800' }, ['a']],
    ['a key that changes prototypes', JSON.parse('{"a":{"__proto__":1}}'), ['a', '__proto__']],
    ['constructor as a key', { constructor: 1 }, ['constructor']],
  ])('cannot hold %s', (_what, data, path) => {
    const error = caught(() => anything['~write']({ type: 'Any', data }))
    expect(error).toBeInstanceOf(InvalidEventError)
    expect((error as InvalidEventError).issues[0]?.path).toEqual(path)
  })

  test('cannot hold a circle', () => {
    expect(() => anything['~write']({ type: 'Any', data: circle })).toThrow(/deeper than 64/)
  })

  test('is a copy that JSON gives back', () => {
    const data = { a: undefined, zero: -0, list: [{ b: null }], text: 'x' }
    const written = anything['~write']({ type: 'Any', data }) as { data: unknown }
    expect(written.data).toStrictEqual(JSON.parse(JSON.stringify(data)))
    expect(Object.is((written.data as { zero: number }).zero, 0)).toBe(true)
  })

  test('waits for a schema that answers later', async () => {
    const later: Schema<number, number> = {
      '~standard': {
        version: 1,
        vendor: 'test',
        validate: async (value) => (value === 1 ? { value: 2 } : { issues: [{ message: 'is not 1', path: [{ key: 'x' }] }] }),
      },
    }
    const slow = aggregate('slow', { events: { Slow: later }, initialState: () => 0, evolve: { Slow: (state) => state } })
    expect(await slow['~write']({ type: 'Slow', data: 1 })).toEqual({ type: 'Slow', schemaVersion: 1, data: 2 })
    await expect(slow['~write']({ type: 'Slow', data: 2 })).rejects.toMatchObject({ code: 'invalid_event', issues: [{ path: ['x'] }] })
  })
})

describe('a stored event', () => {
  const third = counted({
    upcast: { Counted: [(data: { m: string }) => ({ k: Number(data.m) }), (data: { k: number }) => ({ n: data.k * 10 })] },
  })

  test('of the newest version is left as it is', () => {
    const event = stored({ schemaVersion: 3 })
    expect(third['~read'](event)).toBe(event)
  })

  test('of an older version is upcast step by step, and keeps what else it is', () => {
    expect(third['~read'](stored({ data: { m: '4' } }))).toEqual(stored({ data: { n: 40 } }))
    expect(third['~read'](stored({ schemaVersion: 2, data: { k: 5 } }))).toEqual(stored({ schemaVersion: 2, data: { n: 50 } }))
  })

  test('is written in the newest version', () => {
    expect(third['~write']({ type: 'Counted', data: { n: 1 } })).toMatchObject({ schemaVersion: 3 })
  })

  test('of a type or a version that is not known stops the reader, with the position', () => {
    const unknown = caught(() => third['~read'](stored({ type: 'constructor' })))
    expect(unknown).toBeInstanceOf(UnknownEventError)
    expect(unknown).toMatchObject({ code: 'unknown_event', position: 7, message: expect.stringContaining('this code knows Counted;') })
    expect(caught(() => third['~read'](stored({ schemaVersion: 4 })))).toMatchObject({
      code: 'unknown_event',
      message: expect.stringContaining('Counted up to version 3'),
    })
  })

  test.each([
    ['throws', () => JSON.parse('{')],
    ['gives a promise', async () => ({ n: 1 })],
    ['gives nothing', () => undefined],
  ])('whose step %s is an error with its place', (_what, step) => {
    const error = caught(() => counted({ upcast: { Counted: [step] } })['~read'](stored({})))
    expect(error).toBeInstanceOf(HandlerError)
    expect((error as Error).message).toMatch(/counter: upcasting Counted of a from schema version 1/)
  })
})
