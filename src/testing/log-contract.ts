import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import type { AppendOutcome, AppendRequest, EventLog, EventToAppend, ExpectedVersion } from '../index.ts'
import { type ContractCase, rejects } from './contract-case.ts'

type LogCheck = (log: EventLog) => Promise<void>

function event(data: unknown = {}, type = 'Happened'): EventToAppend {
  return { id: randomUUID(), type, schemaVersion: 1, data, metadata: {} }
}

function to(stream: string, expected: ExpectedVersion, ...events: readonly EventToAppend[]): AppendRequest {
  return { streams: [{ aggregate: 'contract', stream, expected, events: events.length > 0 ? events : [event()] }] }
}

const fresh = () => randomUUID()

function appended(outcome: AppendOutcome | undefined): Extract<AppendOutcome, { status: 'appended' }> {
  assert.equal(outcome?.status, 'appended', JSON.stringify(outcome))
  return outcome as Extract<AppendOutcome, { status: 'appended' }>
}

const appendChecks: Readonly<Record<string, LogCheck>> = {
  'gives events back as they were written': async (log) => {
    const stream = `ä-ö "quoted" \\ ${fresh()}`
    const data = { text: 'ü\n"', list: [1, 2.5, -0.1, null, true, { deep: [] }], big: 12345678901234, 'odd key': '' }
    const metadata = { correlationId: 'c', causationId: 'd', actor: 'e', command: 'f' }
    const written: EventToAppend = { id: randomUUID(), type: 'Ünusual "type"', schemaVersion: 7, data, metadata }
    const { position, versions } = appended(await log.append(to(stream, 'no_stream', written)))
    assert.deepEqual(versions, [1])
    const { events, version } = await log.readStream('contract', stream)
    const [read] = events
    assert.match(read?.time ?? '', /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$/)
    assert.deepEqual(events, [{ ...written, aggregate: 'contract', stream, version: 1, position, time: read?.time }])
    assert.equal(version, 1)
    assert.deepEqual(await log.read({ after: position - 1, limit: 1 }), events)
    const bare = { type: written.type, aggregate: 'contract', stream, version: 1, position, schemaVersion: 7, data }
    assert.deepEqual(await log.readState('contract', stream), { events: [bare], version: 1 })
    assert.deepEqual(Object.keys((read?.data ?? {}) as object), Object.keys(data))
  },

  'accepts or refuses by every form of expected version': async (log) => {
    const forms: readonly ExpectedVersion[] = ['any', 'no_stream', 'stream_exists', 0, 1, 2, 3]
    for (const actual of [0, 1, 2]) {
      for (const expected of forms) {
        const stream = fresh()
        if (actual > 0) appended(await log.append(to(stream, 0, ...Array.from({ length: actual }, () => event()))))
        const fits =
          expected === 'any' || (expected === 'stream_exists' ? actual > 0 : actual === (expected === 'no_stream' ? 0 : expected))
        const outcome = await log.append(to(stream, expected))
        if (fits) assert.deepEqual(appended(outcome).versions, [actual + 1])
        else assert.deepEqual(outcome, { status: 'conflict', aggregate: 'contract', stream, expected, actual })
        assert.equal((await log.readStream('contract', stream)).version, fits ? actual + 1 : actual)
      }
    }
  },

  'judges requests that arrive together each alone': async (log) => {
    const [a, b, c] = [fresh(), fresh(), fresh()]
    const outcomes = await Promise.all([
      log.append(to(a, 9)),
      log.append(to(b, 'any', event(), event())),
      log.append(to(a, 0)),
      log.append(to(a, 0)),
      log.append(to(c, 'stream_exists')),
      log.append(to(a, 'any')),
    ])
    assert.deepEqual(
      outcomes.map(({ status }) => status),
      ['conflict', 'appended', 'appended', 'conflict', 'conflict', 'appended'],
    )
    const { events } = await log.readStream('contract', a)
    assert.deepEqual(
      events.map(({ version }) => version),
      [1, 2],
    )
  },

  'takes a request over several streams whole or not at all': async (log) => {
    const [a, b] = [fresh(), fresh()]
    const both = (expected: ExpectedVersion): AppendRequest => ({
      streams: [
        { aggregate: 'contract', stream: a, expected: 'any', events: [event({ n: 1 }), event({ n: 2 })] },
        { aggregate: 'other', stream: b, expected, events: [event({ n: 3 })] },
      ],
    })
    const refused = await log.append(both(4))
    assert.deepEqual(refused, { status: 'conflict', aggregate: 'other', stream: b, expected: 4, actual: 0 })
    assert.equal((await log.readStream('contract', a)).version, 0)
    const { position, versions } = appended(await log.append(both(0)))
    assert.deepEqual(versions, [2, 1])
    const read = await log.read({ after: position - 3, limit: 3 })
    assert.deepEqual(
      read.map(({ data }) => data),
      [{ n: 1 }, { n: 2 }, { n: 3 }],
    )
    assert.equal((await log.readStream('other', a)).version, 0, 'the same id in another aggregate is another stream')
  },

  'numbers positions without a hole, in time': async (log) => {
    const { position: start } = await log.head()
    const requests = Array.from({ length: 60 }, (_, i) =>
      to(`${i % 7}-${start}`, i % 5 === 0 ? 3 : 'any', ...Array.from({ length: i % 4 }, () => event())),
    )
    const outcomes = await Promise.all(requests.map((request) => log.append(request)))
    const { position: end, eventId } = await log.head()
    const events = await log.read({ after: start, limit: 1000 })
    assert.deepEqual(
      events.map(({ position }) => position),
      Array.from({ length: end - start }, (_, i) => start + i + 1),
    )
    assert.equal(events.at(-1)?.id, eventId)
    const accepted = requests.filter((_, i) => outcomes[i]?.status === 'appended').flatMap(({ streams }) => streams[0]?.events ?? [])
    assert.deepEqual(new Set(events.map(({ id }) => id)), new Set(accepted.map(({ id }) => id)))
    const times = events.map(({ time }) => time)
    assert.deepEqual(times, times.toSorted())
    for (const stream of new Set(events.map((each) => each.stream))) {
      const versions = events.filter((each) => each.stream === stream).map(({ version }) => version)
      assert.deepEqual(
        versions,
        versions.map((_, i) => i + 1),
      )
    }
  },

  'answers a request without events by what was expected': async (log) => {
    const stream = fresh()
    const request: AppendRequest = { streams: [{ aggregate: 'contract', stream, expected: 1, events: [] }] }
    assert.equal((await log.append(request)).status, 'conflict')
    const { position } = appended(await log.append(to(stream, 0)))
    const { position: reached, versions } = appended(await log.append(request))
    assert.ok(reached >= position)
    assert.deepEqual(versions, [1])
  },
}

function keyed(request: AppendRequest, key: string, command = 'act'): AppendRequest {
  return { ...request, answer: { command, key, inputHash: 'hash', result: { done: true } } }
}

const keyChecks: Readonly<Record<string, LogCheck>> = {
  'takes a key once, whatever was expected the second time': async (log) => {
    const [stream, key] = [fresh(), fresh()]
    appended(await log.append(keyed(to(stream, 0), key)))
    assert.deepEqual(await log.append(keyed(to(stream, 0), key)), { status: 'duplicate' })
    assert.deepEqual(await log.append(keyed(to(stream, 'any'), key)), { status: 'duplicate' })
    appended(await log.append(keyed(to(stream, 1), key, 'another_command')))
    assert.equal((await log.readStream('contract', stream)).version, 2)
  },

  'takes a key once among requests that arrive together': async (log) => {
    const key = fresh()
    const outcomes = await Promise.all(Array.from({ length: 20 }, () => log.append(keyed(to(fresh(), 0), key))))
    assert.equal(outcomes.filter(({ status }) => status === 'appended').length, 1)
    assert.equal(outcomes.filter(({ status }) => status === 'duplicate').length, 19)
  },

  'does not take the key of a conflict': async (log) => {
    const [stream, key] = [fresh(), fresh()]
    assert.equal((await log.append(keyed(to(stream, 5), key))).status, 'conflict')
    appended(await log.append(keyed(to(stream, 0), key)))
  },

  'records a refusal, which has no events': async (log) => {
    const key = fresh()
    const answer = { command: 'act', key, inputHash: 'hash', refusal: { code: 'no', details: { why: 1 } } }
    assert.equal((await log.append({ streams: [], answer })).status, 'appended')
    assert.deepEqual(await log.append(keyed(to(fresh(), 0), key)), { status: 'duplicate' })
  },
}

const readChecks: Readonly<Record<string, LogCheck>> = {
  'reads a stream from a version on, and says which it is at': async (log) => {
    const stream = fresh()
    assert.deepEqual(await log.readStream('contract', stream), { events: [], version: 0 })
    appended(await log.append(to(stream, 0, ...Array.from({ length: 5 }, (_, i) => event(i)))))
    const [all, some, none, beyond] = await Promise.all([0, 3, 5, 9].map((after) => log.readStream('contract', stream, after)))
    assert.deepEqual(
      all?.events.map(({ data }) => data),
      [0, 1, 2, 3, 4],
    )
    assert.deepEqual(
      some?.events.map(({ version }) => version),
      [4, 5],
    )
    assert.deepEqual(none, { events: [], version: 5 })
    assert.deepEqual(beyond, { events: [], version: 5 })
  },

  'answers each of many reads with its own': async (log) => {
    const streams = Array.from({ length: 50 }, fresh)
    await Promise.all(streams.map((stream, i) => log.append(to(stream, 0, ...Array.from({ length: (i % 3) + 1 }, () => event(i))))))
    const slices = await Promise.all(
      streams.map((stream, i) => (i % 4 === 0 ? log.readState('contract', stream) : log.readStream('contract', stream))),
    )
    for (const [i, { events, version }] of slices.entries()) {
      assert.equal(version, (i % 3) + 1)
      assert.deepEqual(
        events.map(({ stream, data }) => [stream, data]),
        events.map(() => [streams[i], i]),
      )
    }
  },

  'reads some types only, in the order of the log': async (log) => {
    const { position: after } = await log.head()
    const types = ['A', 'B', 'C', 'A', 'C', 'B', 'A'].map((type) => `${type}${after}`)
    for (const type of types) appended(await log.append(to(fresh(), 0, event({}, type))))
    const read = async (limit: number, ...wanted: readonly string[]) =>
      (await log.read({ after, limit, types: wanted.map((type) => `${type}${after}`) })).map(({ position }) => position - after)
    assert.deepEqual(await read(10, 'A', 'B'), [1, 2, 4, 6, 7])
    assert.deepEqual(await read(3, 'B', 'A', 'B'), [1, 2, 4])
    assert.deepEqual(await read(10, 'C'), [3, 5])
    assert.deepEqual(await read(10, 'C', 'nothing'), [3, 5])
    assert.deepEqual(await read(10), [])
    assert.deepEqual(await read(0, 'A'), [])
  },
}

const big = 'x'.repeat(256 * 1024)
const long = 'é'.repeat(129)

const limitChecks: Readonly<Record<string, LogCheck>> = Object.fromEntries(
  Object.entries<readonly [AppendRequest, RegExp]>({
    'a stream id over 256 bytes': [to(long, 0), /streams\.0\.stream/],
    'an empty stream id': [to('', 0), /streams\.0\.stream/],
    'a stream id that changes prototypes': [to('__proto__', 0), /streams\.0\.stream/],
    'a stream id that no database could keep': [to('a\u0000', 0), /streams\.0\.stream/],
    'an event type over 256 bytes': [to('a', 0, event({}, long)), /streams\.0\.events\.0\.type/],
    'a key over 256 bytes': [keyed(to('a', 0), long), /answer\.key/],
    'an event over 256 KiB': [to('a', 0, event(), event(big)), /streams\.0\.events\.1/],
    'more than 500 events': [to('a', 0, ...Array.from({ length: 501 }, () => event())), /501 events/],
    'more than 4 MiB': [to('a', 0, ...Array.from({ length: 20 }, () => event(big.slice(20)))), /bytes/],
    'half a surrogate pair': [to('a', 0, event({ deep: [{ text: '\ud800' }] })), /streams\.0\.events\.0\.data\.deep\.0\.text/],
    'a key that changes prototypes': [to('a', 0, event(JSON.parse('{"__proto__": 1}'))), /__proto__/],
    'what JSON cannot keep': [to('a', 0, event({ n: 1n })), /streams\.0\.events\.0\.data/],
    'an event id that is no UUID': [to('a', 0, { ...event(), id: 'x' }), /streams\.0\.events\.0\.id/],
    'an aggregate with a dash': [{ streams: [{ aggregate: 'a-b', stream: 'c', expected: 0, events: [] }] }, /streams\.0\.aggregate/],
    'a stream that is named twice': [{ streams: [...to('a', 'any').streams, ...to('a', 'any').streams] }, /twice/],
  }).map(([name, [request, message]]) => [
    `refuses ${name}, and nothing beside it`,
    async (log: EventLog) => {
      const neighbour = fresh()
      const refused = rejects(() => log.append(request), { code: 'invalid_input', message })
      const accepted = await log.append(to(neighbour, 0))
      await refused
      appended(accepted)
    },
  ]),
)

/**
 * What every event log keeps, as cases for any test runner. `open` gives a log, maybe the same one each time; the cases append to streams
 * that nobody else uses, and expect that nothing else is appended meanwhile.
 *
 * @example
 * for (const { name, run } of logContract(async () => log)) test(name, run)
 */
export function logContract(open: () => Promise<EventLog>): readonly ContractCase[] {
  const checks = { ...appendChecks, ...keyChecks, ...readChecks, ...limitChecks }
  return Object.entries(checks).map(([name, check]) => ({ name, run: async () => check(await open()) }))
}
