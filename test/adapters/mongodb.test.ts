import { memory } from 'headwater/memory'
import { mongodb } from 'headwater/mongodb'
import { manualClock } from 'headwater/testing'
import { MongoClient } from 'mongodb'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { mongodbMissing } from '../support/store-addresses.ts'
import { at, batch, catchUp, change, contents, freshModel, someSteps } from '../support/stored-model.ts'
import { isFerret, mongodbUrl, run } from '../support/stores.ts'

const skip = await mongodbMissing()
const day = 86_400_000

test('says its address without the password, and refuses to forget deleted rows early', () => {
  expect(mongodb('mongodb://me:secret@127.0.0.1:1/shop?x=1').description).toBe('mongodb://127.0.0.1:1/shop')
  expect(mongodb('mongodb://127.0.0.1:1', { database: 'a' }).description).toBe('mongodb://127.0.0.1:1/a')
  expect(() => mongodb('mongodb://127.0.0.1:1', { tombstoneDays: 6 })).toThrow(/at least 7/)
})

test('says that a server is not there', async () => {
  const store = mongodb('mongodb://127.0.0.1:1')
  await expect(store.load(freshModel(), ['x'])).rejects.toMatchObject({ code: 'database_unavailable', during: 'connect' })
  await store.close()
  await expect(store.load(freshModel(), ['x'])).rejects.toMatchObject({ code: 'usage' })
})

describe.skipIf(skip)('on a server', () => {
  let client: MongoClient
  const open = (options = {}) => mongodb(mongodbUrl, { database: run, ...options })
  beforeAll(async () => {
    client = await new MongoClient(mongodbUrl).connect()
  })
  afterAll(() => client.close())

  /** A client that waits before each bulk of rows, and after each look at the state. */
  function gated(gate: (operations: readonly unknown[]) => Promise<unknown>, looked: () => Promise<unknown> = async () => {}): MongoClient {
    const over = <T extends object>(target: T, name: string, replaced: (...args: never[]) => unknown): T =>
      new Proxy(target, {
        get: (object, property) => {
          const value: unknown = property === name ? replaced : Reflect.get(object, property)
          return typeof value === 'function' ? value.bind(object) : value
        },
      })
    return over(client, 'db', (...call: Parameters<MongoClient['db']>) => {
      const database = client.db(...call)
      return over(database, 'collection', (name: string) => {
        const rows = database.collection(name)
        if (name === 'headwater_state') {
          return over(rows, 'findOne', async (...asked: Parameters<typeof rows.findOne>) => {
            const found = await rows.findOne(...asked)
            await looked()
            return found
          })
        }
        return over(rows, 'bulkWrite', async (...bulk: Parameters<typeof rows.bulkWrite>) => {
          await gate(bulk[0])
          return rows.bulkWrite(...bulk)
        })
      })
    })
  }

  test('says what the server is', async () => {
    const store = open()
    expect(await store.traits()).toMatchObject({ server: isFerret ? 'ferretdb' : 'mongodb', hasCompareAndSet: !isFerret })
    expect((await store.native()).databaseName).toBe(run)
    await store.close()
  })

  test('keeps rows as documents that can be asked for by field, and leaves a client open that it was given', async () => {
    const store = mongodb(client, { database: run })
    const model = freshModel()
    const rows = ['a', 'b', 'c'].map((key, i) =>
      change(model, key, 0, i + 1, { name: key, price: i * 10, tags: ['x', key], of: { group: i % 2 } }),
    )
    await store.apply(model, batch(null, 3, rows))
    await store.apply(
      model,
      batch(3, 5, [change(model, 'b', 2, 4, null)], { park: [{ key: 'p', position: 5, eventId: null, reason: '' }] }),
    )
    await store.index?.(model)
    await store.close()
    const documents = client.db(run).collection(store.collectionName(model))
    expect(await documents.find({ 'row.price': { $gte: 10 } }).toArray()).toMatchObject([
      { _id: 'c', row: { name: 'c', of: { group: 0 } } },
    ])
    expect(await documents.countDocuments({ 'row.tags': 'x' })).toBe(2)
    const groups = documents.aggregate([{ $match: { 'row.price': { $gte: 0 } } }, { $group: { _id: '$row.of.group', count: { $sum: 1 } } }])
    expect(await groups.toArray()).toEqual([{ _id: 0, count: 2 }])
  })

  test('parks a row that cannot be a document, and writes the others', async () => {
    const store = open()
    const model = freshModel()
    await store.apply(model, batch(null, 100, [change(model, 'dot', 0, 50, { name: 'good' })]))
    const odd = {
      dot: { name: 'a', at: [{ 'b.c': 1 }] },
      dollar: { $name: 'a' },
      driver: { name: { _bsontype: 'ObjectId' } },
      large: { name: 'a', text: 'x'.repeat(17 * 1024 * 1024) },
    }
    const rows = Object.entries(odd).map(([key, row], i) => change(model, key, key === 'dot' ? 50 : 0, 110 + i, row))
    expect(await store.apply(model, batch(100, 120, [...rows, change(model, 'fine', 0, 120, { name: 'fine' })]))).toBe('parked')
    const seen = await store.load(model, ['fine', ...Object.keys(odd)])
    expect(seen).toMatchObject({ checkpoint: at(120), parked: 4 })
    const reasons = Object.fromEntries(
      seen.rows.map(({ key, row, position, parked }) => [key, [row && JSON.parse(row), position, parked?.position, parked?.reason]]),
    )
    expect(reasons).toEqual({
      fine: [{ name: 'fine' }, 120, undefined, undefined],
      dot: [{ name: 'good' }, 50, 101, expect.stringContaining('"at.0.b.c" has a name with a dot in it')],
      dollar: [undefined, 0, 101, expect.stringContaining('"$name" has a name that begins with a dollar sign')],
      driver: [undefined, 0, 101, expect.stringContaining('"name._bsontype"')],
      large: [undefined, 0, 101, expect.stringMatching(/takes 178\d+ bytes of the 16\d+/)],
    })
    await store.apply(model, batch(120, 130, [change(model, 'dot', 50, 130, { name: 'mended' })], { unpark: ['dot'] }))
    expect((await store.load(model, ['dot'])).rows).toMatchObject([{ position: 130, parked: undefined }])
    await store.apply(model, batch(130, 130, [change(model, 'dollar', 0, 111, { $again: 1 })], { unpark: ['dollar'] }))
    expect((await store.load(model, ['dollar'])).rows).toMatchObject([{ position: 0, parked: { position: 1 } }])
    await store.drop(model)
    await store.close()
  })

  test.runIf(isFerret)('parks an array in an array, which FerretDB does not hold', async () => {
    const store = open()
    const model = freshModel()
    const nested = { name: 'a', list: [[1]] }
    await store.apply(model, batch(null, 5, [change(model, 'a', 0, 1, nested), change(model, 'b', 0, 2, { name: 'b' })]))
    const { rows } = await store.load(model, ['a', 'b'])
    expect(rows.find(({ key }) => key === 'a')?.parked?.reason).toMatch(/"list.0" is an array in an array/)
    expect(rows.find(({ key }) => key === 'b')?.row).toBe('{"name":"b"}')
    await store.drop(model)
    await store.close()
  })

  test.each([
    // FerretDB answers for the whole command, MongoDB for each document.
    ['all at once', () => ({ name: 'MongoServerError', code: 2 })],
    ['by the driver', () => Object.assign(new Error('Document is larger than the maximum size 1'), { name: 'MongoInvalidArgumentError' })],
    ['by its encoder', () => ({ name: 'BSONError' })],
    ['by what is below it', () => ({ name: 'MongoBulkWriteError', code: 1, message: 'not this one (SQLSTATE 22P05)' })],
    [
      'one by one',
      (index: number) => ({ name: 'MongoBulkWriteError', code: 2, writeErrors: [{ index, code: 2, errmsg: 'not this one' }] }),
    ],
  ])('parks what only the server finds out (%s), in its words, and writes the others', async (_how, refusal) => {
    const store = mongodb(
      gated(async (operations) => {
        const index = operations.findIndex((operation) => JSON.stringify(operation).includes('"bad"'))
        if (index < 0) return
        if (operations.length > 1 && 'writeErrors' in refusal(index)) {
          // What a server does with the others of such a bulk.
          await client
            .db(run)
            .collection(store.collectionName(model))
            .bulkWrite(operations.filter((_, i) => i !== index) as never)
        }
        const refused = refusal(index)
        throw refused instanceof Error ? refused : Object.assign(new Error('not this one'), refused)
      }),
      { database: run },
    )
    const model = freshModel()
    await store.apply(model, batch(null, 3, [change(model, 'a', 0, 1, { name: 'a' }), change(model, 'c', 0, 3, { name: 'c' })]))
    const rows = [change(model, 'a', 1, 4, { name: 'A' }), change(model, 'b', 0, 5, { name: 'bad' }), change(model, 'c', 3, 6, null)]
    expect(await store.apply(model, batch(3, 6, rows))).toBe('parked')
    const seen = await store.load(model, ['a', 'b', 'c'])
    expect(seen.rows.map(({ key, row, parked }) => [key, row, parked?.reason])).toEqual([
      ['a', '{"name":"A"}', undefined],
      ['b', undefined, expect.stringMatching(/^(not this one|Document is larger)/)],
      ['c', undefined, undefined],
    ])
    expect(seen).toMatchObject({ checkpoint: at(6), parked: 1 })
    await store.drop(model)
  })

  test('a writer that slept between looking and writing brings no deleted row back, and its checkpoint is lost', async () => {
    let wake = () => {}
    let reached = () => {}
    const asleep = new Promise<void>((resolve) => {
      reached = resolve
    })
    let sleeps = true
    const sleeper = mongodb(
      gated(async () => {
        if (!sleeps) return
        sleeps = false
        reached()
        await new Promise<void>((resolve) => {
          wake = resolve
        })
      }),
      { database: run },
    )
    const store = open()
    const model = freshModel()
    await store.apply(model, batch(null, 1, [change(model, 'y', 0, 1, { name: 'y' }), change(model, 'z', 0, 1, { name: 'z' })]))
    const rows = [
      change(model, 'x', 0, 2, { name: 'late' }),
      change(model, 'y', 1, 2, { name: 'late' }),
      change(model, 'z', undefined, 2, { name: 'late' }),
    ]
    const late = sleeper.apply(model, batch(1, 2, rows, { park: [{ key: 'p', position: 2, eventId: null, reason: 'late' }] }))
    await asleep
    await store.apply(model, batch(1, 2, [change(model, 'x', 0, 2, { name: 'x' }), change(model, 'p', 0, 2, { name: 'p' })]))
    await store.apply(
      model,
      batch(
        2,
        3,
        ['x', 'y', 'z', 'p'].map((key) => change(model, key, key === 'x' || key === 'p' ? 2 : 1, 3, null)),
      ),
    )
    wake()
    expect(await late).toBe('lost')
    const seen = await store.load(model, ['x', 'y', 'z', 'p'])
    expect(seen.rows.map(({ row, position, parked }) => [row, position, parked])).toEqual(Array(4).fill([undefined, 3, undefined]))
    expect(seen).toMatchObject({ checkpoint: at(3), parked: 0 })
    expect(await contents(store, model)).toEqual({})
    await store.drop(model)
    await store.close()
  })

  test('remembers deleted rows for seven days, and throws away a batch from before a quarter of that', async () => {
    const clock = manualClock()
    const store = open({ clock })
    const model = freshModel()
    const documents = client.db(run).collection<{ _id: string }>(store.collectionName(model))
    await store.apply(model, batch(null, 1, [change(model, 'x', 0, 1, { name: 'x' })]))
    await store.apply(model, batch(1, 2, [change(model, 'x', 1, 2, null), change(model, 'never', 0, 2, null)]))
    const readAt = clock.now()
    await clock.advance(1.7 * day)
    expect(await store.apply(model, batch(2, 3, [], { readAt }))).toBe('applied')
    await clock.advance(0.1 * day)
    expect(await store.apply(model, batch(3, 4, [change(model, 'y', 0, 4, { name: 'y' })], { readAt }))).toBe('lost')
    expect((await store.load(model, [])).checkpoint).toEqual(at(3))
    await clock.advance(5.1 * day)
    await store.apply(model, batch(3, 4, []))
    expect(await documents.countDocuments({ deleted: { $exists: true } })).toBe(2)
    await clock.advance(0.2 * day)
    await store.apply(model, batch(4, 5, []))
    // What is left is no key.
    expect(await documents.countDocuments({ position: { $exists: true } })).toBe(0)
    await store.drop(model)
    await store.close()
  })

  test('takes a dropped database for one that was never built, also in the middle of a batch', async () => {
    const name = `${run}_flushed`
    let flush = false
    const store = mongodb(
      gated(async () => {
        if (flush) await client.db(name).dropDatabase()
        flush = false
      }),
      { database: name },
    )
    const model = freshModel()
    const rows = [change(model, 'x', 0, 1, { name: 'x' })]
    flush = true
    expect(await store.apply(model, batch(null, 1, rows))).toBe('lost')
    expect((await store.load(model, [])).checkpoint).toBeNull()
    await store.drop(model)
    expect(await store.apply(model, batch(null, 1, rows))).toBe('applied')
    await client.db(name).dropDatabase()
    expect(await store.apply(model, batch(1, 2, [change(model, 'x', 1, 2, { name: 'y' })]))).toBe('lost')
    expect(await store.load(model, ['x'])).toEqual({ checkpoint: null, rows: [], parked: 0 })
    await client.db(name).dropDatabase()
  })

  test('does not show a version that is dropped while it is read as an empty one', async () => {
    const model = freshModel()
    let looks = 0
    const rows = [change(model, 'x', 0, 1, { name: 'x' })]
    const store = open()
    const interrupted = mongodb(
      gated(
        async () => {},
        async () => {
          if (++looks === 1) await store.drop(model)
        },
      ),
      { database: run },
    )
    await store.apply(model, batch(null, 1, rows))
    expect(await interrupted.load(model, ['x'])).toEqual({ checkpoint: null, rows: [], parked: 0 })
    await store.apply(model, batch(null, 1, rows))
    looks = 0
    const seen = await interrupted.range(model, { index: 0, from: '', to: '6', reverse: false, limit: 10 })
    expect(seen).toEqual({ checkpoint: null, rows: [], parked: 0 })
    await store.close()
  })

  test('takes a version whose rows were dropped for one that is not there, whatever its state says, and begins it again', async () => {
    const store = open()
    const model = freshModel()
    const documents = client.db(run).collection(store.collectionName(model))
    const missing = { checkpoint: null, rows: [], parked: 0 }
    const everything = { index: 0, from: '', to: '6', reverse: false, limit: 10 }
    await store.apply(model, batch(null, 1, [change(model, 'x', 0, 1, { name: 'x' })]))
    await documents.drop()
    const expectMissing = async () => {
      expect(await store.load(model, ['x'])).toEqual(missing)
      expect(await store.load(model, [])).toEqual(missing)
      expect(
        await store.load(
          model,
          Array.from({ length: 150 }, (_, i) => `k${i}`),
        ),
      ).toEqual(missing)
      expect(await store.range(model, everything)).toEqual(missing)
      expect(await store.checkpoints?.(model)).toEqual([])
      expect(await store.apply(model, batch(1, 2, [change(model, 'y', 0, 2, { name: 'y' })]))).toBe('lost')
    }
    await expectMissing()
    expect(await documents.countDocuments({})).toBe(0)
    // What a batch writes that was on its way makes the collection again, without its marker.
    await documents.insertOne({ _id: 'z' as never, position: 2, version: null, row: { name: 'z' }, texts: { i0: '4z' } })
    await expectMissing()
    expect(await store.apply(model, batch(null, 1, [change(model, 'x', 0, 1, { name: 'x' })]))).toBe('applied')
    expect(await contents(store, model)).toEqual({ x: { name: 'x', position: 1 } })
    await store.drop(model)
    await store.close()
  })

  test('reads many keys at once', async () => {
    const store = open()
    const model = freshModel()
    const keys = Array.from({ length: 150 }, (_, i) => `k${i}`)
    await store.apply(
      model,
      batch(
        null,
        150,
        keys.map((key, i) => change(model, key, 0, i + 1, { name: key })),
      ),
    )
    const seen = await store.load(model, [...keys, 'nobody'])
    expect(new Set(seen.rows.map(({ key }) => key))).toEqual(new Set(keys))
    expect(seen.checkpoint).toEqual(at(150))
    await store.drop(model)
    await store.close()
  })

  test('refuses by name a document under one of its keys, in its collection, or for its state, that it did not write', async () => {
    const store = open()
    const [model, other, third] = [freshModel(), freshModel(), freshModel()]
    const documents = client.db(run).collection<{ _id: string; mine?: number }>(store.collectionName(model))
    await store.apply(model, batch(null, 1, [change(model, 'x', 0, 1, { name: 'x' })]))
    await documents.insertOne({ _id: 'foreign', mine: 1 })
    const refusal = { code: 'other_version', message: expect.stringMatching(/holds a document "foreign" that is not of Headwater/) }
    const write = batch(1, 2, [change(model, 'foreign', 0, 2, { name: 'y' })])
    await expect(store.apply(model, write)).rejects.toMatchObject(refusal)
    await expect(store.load(model, ['foreign'])).rejects.toMatchObject(refusal)
    const elsewhere = client.db(run).collection<{ _id: string; mine?: number }>(store.collectionName(other))
    await elsewhere.insertOne({ _id: 'foreign', mine: 1 })
    await expect(store.apply(other, batch(null, 1, []))).rejects.toMatchObject(refusal)
    expect(await elsewhere.countDocuments({ mine: 1 })).toBe(1)
    const states = client.db(run).collection<{ _id: string; mine?: number }>('headwater_state')
    await states.insertOne({ _id: `${third.owner}:cards:1`, mine: 1 })
    await expect(store.load(third, [])).rejects.toMatchObject({ code: 'other_version', message: expect.stringContaining(third.owner) })
    for (const each of [model, other, third]) await store.drop(each)
    await store.close()
  })

  test('parks a row with texts that no server holds as they are, one that is nested too deeply, and one whose index texts leave no room', async () => {
    const store = open()
    const model = freshModel()
    const deep = JSON.parse(`${'{"a":'.repeat(2_000)}1${'}'.repeat(2_000)}`)
    const text = 'x'.repeat(9 * 1024 * 1024)
    const odd: Readonly<Record<string, object>> = {
      half: { name: 'a', of: { half: 'a\ud800b' } },
      'half name': { name: 'a', 'a\ud800b': 1 },
      'null name': { name: 'a', 'a\u0000b': 1 },
      deep: { name: 'a', deep },
      index: { name: text },
      ...(isFerret ? { null: { name: 'a', of: ['a\u0000b'] }, 'null index': { name: 'a\u0000b' } } : {}),
    }
    const rows = Object.entries(odd).map(([key, row], i) => change(model, key, 0, i + 1, row))
    expect(await store.apply(model, batch(null, 20, [...rows, change(model, 'fine', 0, 20, { name: '\u{1f600}\u0001' })]))).toBe('parked')
    const reasons = Object.fromEntries(((await store.parked?.(model)) ?? []).map(({ key, reason }) => [key, reason]))
    expect(reasons).toEqual({
      half: expect.stringContaining('"of.half" holds half of a surrogate pair'),
      'half name': expect.stringMatching(/has a name that holds half of a surrogate pair/),
      'null name': expect.stringMatching(/has a name that holds U\+0000/),
      deep: expect.stringContaining('nested more than 99 deep'),
      index: expect.stringMatching(/takes 188\d+ bytes of the 16\d+/),
      ...(isFerret
        ? { null: expect.stringContaining('"of.0" holds U+0000'), 'null index': expect.stringContaining('"name" holds U+0000') }
        : {}),
    })
    expect(await contents(store, model)).toEqual({ fine: { name: '\u{1f600}\u0001', position: 20 } })
    await store.drop(model)
    await store.close()
  })

  test('parks a key with a reason that no server holds', async () => {
    const store = open()
    const model = freshModel()
    const reason = `a\u0000b${'\ud800'}${'x'.repeat(20 * 1024 * 1024)}`
    await store.apply(model, batch(null, 1, [], { park: [{ key: 'p', position: 1, eventId: null, reason }] }))
    expect(await store.parked?.(model)).toMatchObject([{ key: 'p', reason: expect.stringMatching(/^a\\u0000b\ufffdx{9000}/) }])
    await store.drop(model)
    await store.close()
  })

  test('refuses what a newer version of Headwater wrote, and what is of another read model', async () => {
    const store = open()
    const model = freshModel()
    await store.apply(model, batch(null, 1, []))
    const states = client.db(run).collection('headwater_state')
    await states.updateOne({ owner: model.owner }, { $set: { name: 'other' } })
    await expect(store.load(model, [])).rejects.toMatchObject({ code: 'other_version', message: expect.stringContaining(model.owner) })
    await states.updateOne({ owner: model.owner }, { $set: { format: 2 } })
    await expect(store.apply(model, batch(1, 2, []))).rejects.toMatchObject({ code: 'newer_schema' })
    await store.drop(model)
    await store.close()
  })

  test('gives back which of many rows were refused, and what became of the others', async () => {
    const store = mongodb(
      gated(async (operations) => {
        if (operations.some((operation) => JSON.stringify(operation).includes('"bad"')))
          throw Object.assign(new Error('not this one'), { name: 'MongoServerError', code: 2 })
      }),
      { database: run },
    )
    const model = freshModel()
    const keys = Array.from({ length: 37 }, (_, i) => `k${i}`)
    await store.apply(
      model,
      batch(
        null,
        50,
        keys.map((key, i) => change(model, key, 0, i + 1, { name: key })),
      ),
    )
    const bad = ['k3', 'k17', 'k36']
    const rows = keys.map((key, i) => change(model, key, i + 1, 51 + i, { name: bad.includes(key) ? 'bad' : 'good' }))
    expect(await store.apply(model, batch(50, 100, rows))).toBe('parked')
    expect((await store.parked?.(model))?.map(({ key }) => key).toSorted()).toEqual(bad.toSorted())
    const good = Object.values(await contents(store, model)).filter((row) => JSON.stringify(row).includes('"good"'))
    expect(good).toHaveLength(34)
    await store.drop(model)
  })

  test('a batch that broke off at any place is done again without doubling anything', async () => {
    const steps = someSteps(400, 5)
    let bulks = 0
    const store = mongodb(
      gated(async () => {
        if (++bulks % 3 === 0) throw Object.assign(new Error('the connection broke'), { name: 'MongoNetworkError' })
      }),
      { database: run },
    )
    const [other, model] = [memory(), freshModel()]
    await catchUp(other, model, steps, 100)
    await catchUp(store, model, steps, 35)
    expect(await contents(store, model)).toEqual(await contents(other, model))
    await store.drop(model)
  })
})
