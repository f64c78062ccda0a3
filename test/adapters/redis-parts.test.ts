import { type Batch, type Parked, partitionOf, type Store, type StoredModel } from 'headwater'
import { redis } from 'headwater/redis'
import { createClient } from 'redis'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { meddlingClient, type ScriptCall } from '../support/meddling-client.ts'
import { RedisServer } from '../support/redis-server.ts'
import { redisMissing } from '../support/store-addresses.ts'
import { at, batch, change, freshModel } from '../support/stored-model.ts'

const skip = await redisMissing()
const low = { first: 0, last: 31 }
const high = { first: 32, last: 63 }

/** Where the arguments of a script that writes a part say whether it is the last, and how many rows, parks and take-backs it has. */
const heads = { isLast: 8, rows: 9, park: 10, unpark: 11 }

function keysOf(count: number, within = { first: 0, last: 63 }): readonly string[] {
  const keys: string[] = []
  for (let i = 0; keys.length < count; i++) {
    const partition = partitionOf(`k${i}`)
    if (partition >= within.first && partition <= within.last) keys.push(`k${i}`)
  }
  return keys
}

function parkedAt(key: string, position: number, reason = 'it failed'): Parked & { readonly key: string } {
  return { key, position, eventId: `event-${position}`, reason }
}

/** Every key has a row, all at the same position. */
function written(model: StoredModel, keys: readonly string[], position: number, more: Partial<Batch> = {}): Batch {
  const rows = keys.map((key) => change(model, key, 0, position, { name: 'a' }))
  return batch(null, position, rows, more)
}

const deleted = (model: StoredModel, keys: readonly string[], was: number, position: number) =>
  keys.map((key) => change(model, key, was, position, null))

describe.skipIf(skip)('batches of several parts', () => {
  let server: RedisServer
  const closing: (() => Promise<unknown>)[] = []
  beforeAll(async () => {
    server = await RedisServer.start('--slowlog-log-slower-than', '0', '--slowlog-max-len', '100000')
  })
  afterEach(async () => {
    for (const close of closing.splice(0)) await close()
  })
  afterAll(() => server.stop())

  function opened(): Store {
    const store = redis(server.url)
    closing.push(() => store.close())
    return store
  }

  /** What it does before each script of the store can be given later. */
  async function meddled() {
    const meddling: { before: (call: ScriptCall) => Promise<unknown> | unknown } = { before: () => {} }
    const client = await meddlingClient(server.url, (_calls, call) => meddling.before(call))
    closing.push(() => client.close())
    return { store: redis(client), meddling }
  }

  /** Fails before the script that `when` says. */
  const breaking = (when: (call: ScriptCall) => boolean) => (call: ScriptCall) => {
    if (when(call)) throw new Error('the connection broke')
  }
  const isLast = (call: ScriptCall) => call.keys.length > 2 && call.arguments[heads.isLast] === '1'
  const counts = (kind: keyof typeof heads) => (call: ScriptCall) => call.keys.length > 2 && Number(call.arguments[heads[kind]]) > 0
  /** From the second call on for which `when` holds. */
  function second(when: (call: ScriptCall) => boolean): (call: ScriptCall) => boolean {
    let met = 0
    return (call) => when(call) && ++met >= 2
  }

  const rowsKey = (model: StoredModel) => `headwater:{${model.owner}:cards:1}:rows`
  const rememberedIn = (model: StoredModel) => server.control.hLen(`headwater:{${model.owner}:cards:1}:deleted`)
  /** Fields that stand for rows, deleted ones too. */
  async function fieldsIn(model: StoredModel): Promise<number> {
    const names = await server.control.hKeys(rowsKey(model))
    return names.filter((name) => !name.startsWith('\0')).length
  }

  test('50,000 keys are parked in one batch, listed, passed over and taken back', async () => {
    const [store, model, keys] = [opened(), freshModel(), keysOf(50_000)]
    expect(await store.apply(model, batch(null, 5, [], { park: keys.map((key) => parkedAt(key, 5)) }))).toBe('applied')
    const seen = await store.load(model, keys)
    expect([seen.rows.length, seen.parked, seen.checkpoint]).toEqual([50_000, 50_000, at(5)])
    expect(seen.rows.every(({ parked }) => parked?.position === 5)).toBe(true)
    expect(new Set((await store.parked?.(model))?.map(({ key }) => key))).toEqual(new Set(keys))
    expect(await store.apply(model, batch(5, 9, [], { stillParked: keys }))).toBe('applied')
    expect(await store.apply(model, batch(9, 10, [], { stillParked: [...keys, 'nobody'] }))).toBe('lost')
    const rows = keys.map((key) => change(model, key, 0, 9, { name: 'a' }))
    expect(await store.apply(model, batch(9, 9, rows, { unpark: keys }))).toBe('applied')
    expect(await store.load(model, keys.slice(0, 1))).toMatchObject({ parked: 0, rows: [{ position: 9, parked: undefined }] })
    expect(await store.parked?.(model)).toEqual([])
    expect((await store.load(model, keys)).rows).toHaveLength(50_000)
    expect((await store.range(model, { index: undefined, from: '', to: '\u{10ffff}', reverse: true, limit: 100_000 })).rows).toHaveLength(
      50_000,
    )
  }, 120_000)

  test('a batch that ended among its parks can be repeated', async () => {
    const { store, meddling } = await meddled()
    const [model, keys] = [freshModel(), keysOf(1_800)]
    await store.apply(model, written(model, keys, 3))
    const rows = keys.map((key) => change(model, key, 3, 6, { name: 'b' }))
    const whole = batch(3, 9, rows, { park: keys.map((key) => parkedAt(key, 7)) })
    meddling.before = breaking(second(counts('park')))
    await expect(store.apply(model, whole)).rejects.toMatchObject({ code: 'database_unavailable', during: 'commit' })
    meddling.before = () => {}
    const between = await store.load(model, keys)
    expect([between.checkpoint, between.parked]).toEqual([at(3), 500])
    // Parked with its last good row, and not before that.
    expect(between.rows.map(({ position }) => position)).toEqual(keys.map(() => 6))
    expect(between.rows.filter(({ parked }) => parked)).toHaveLength(500)
    const parkedNow = between.rows.flatMap(({ key, parked }) => (parked ? [key] : []))
    const open = keys.filter((key) => !parkedNow.includes(key))
    // As another owner does it: what is parked it passes over, the rest it folds again.
    const again = batch(3, 9, [], { park: open.map((key) => parkedAt(key, 7)), stillParked: parkedNow })
    expect(await opened().apply(model, again)).toBe('applied')
    expect(await store.load(model, keys.slice(0, 1))).toMatchObject({ checkpoint: at(9), parked: 1_800, rows: [{ position: 6 }] })
    expect(await store.apply(model, whole)).toBe('lost')
  })

  test('a batch that ended among what it takes back can be repeated, and nothing is taken back before its row is there', async () => {
    const { store, meddling } = await meddled()
    const [other, model, keys] = [opened(), freshModel(), keysOf(1_800)]
    await store.apply(model, written(model, keys, 3, { to: at(9), park: keys.map((key) => parkedAt(key, 5)) }))
    const rows = keys.map((key) => change(model, key, 3, 8, { name: 'b' }))
    const whole = batch(9, 9, rows, { unpark: keys })
    let free = 0
    const fails = breaking(second(counts('unpark')))
    meddling.before = async (call) => {
      const seen = await other.load(model, keys)
      for (const { parked, position } of seen.rows) if (!parked) expect(position).toBe(8)
      free = seen.rows.filter(({ parked }) => !parked).length
      expect(seen.parked).toBe(1_800 - free)
      fails(call)
    }
    await expect(store.apply(model, whole)).rejects.toMatchObject({ during: 'commit' })
    expect(free).toBe(500)
    meddling.before = () => {}
    expect(await store.apply(model, whole)).toBe('applied')
    expect((await store.load(model, keys)).rows.every(({ parked, position }) => !parked && position === 8)).toBe(true)
    expect((await store.load(model, [])).parked).toBe(0)
  })

  test('a key that is parked again in the batch that takes it back is never free in between', async () => {
    const { store, meddling } = await meddled()
    const [other, model, keys] = [opened(), freshModel(), keysOf(1_200)]
    await store.apply(model, batch(null, 9, [], { park: keys.map((key) => parkedAt(key, 5)) }))
    meddling.before = async () => expect((await other.load(model, [])).parked).toBe(1_200)
    expect(await store.apply(model, batch(9, 9, [], { unpark: keys, park: keys.map((key) => parkedAt(key, 8)) }))).toBe('applied')
    expect((await store.load(model, keys)).rows.every(({ parked }) => parked?.position === 8)).toBe(true)
  })

  test('what is taken back between the parts of a batch that parked it loses the batch', async () => {
    const { store, meddling } = await meddled()
    const [other, model, keys] = [opened(), freshModel(), keysOf(1_200)]
    await store.apply(model, written(model, keys, 3))
    const whole = batch(3, 9, [], { park: keys.map((key) => parkedAt(key, 7)) })
    let taken = 0
    meddling.before = async (call) => {
      if (!isLast(call) || taken++ > 0) return
      expect(await other.apply(model, batch(3, 3, [], { unpark: keys.slice(700, 701) }))).toBe('applied')
    }
    expect(await store.apply(model, whole)).toBe('lost')
    expect(taken).toBe(1)
    expect(await store.load(model, [])).toMatchObject({ checkpoint: at(3), parked: 1_199 })
    meddling.before = () => {}
    expect(await store.apply(model, whole)).toBe('applied')
  })

  test('what is taken back between the parts of a batch that passes it over loses the batch; another key does not', async () => {
    const { store, meddling } = await meddled()
    const [other, model, keys] = [opened(), freshModel(), keysOf(1_202)]
    await store.apply(model, batch(null, 3, [], { park: keys.map((key) => parkedAt(key, 3)) }))
    const passing = keys.slice(0, 1_200)
    for (const [key = '', outcome] of [
      [keys[1_200], 'applied'],
      [keys[1_199], 'lost'],
    ] as const) {
      const { checkpoint } = await store.load(model, [])
      const position = checkpoint?.position ?? 0
      let done = false
      meddling.before = async (call) => {
        if (!isLast(call) || done) return
        done = true
        expect(await other.apply(model, batch(position, position, [], { unpark: [key] }))).toBe('applied')
      }
      expect(await store.apply(model, batch(position, position + 5, [], { stillParked: passing }))).toBe(outcome)
      expect((await store.load(model, [])).checkpoint?.position).toBe(outcome === 'applied' ? position + 5 : position)
    }
  })

  test('one who slept among its parks does not set aside a key that another owner has got beyond that event', async () => {
    const { store, meddling } = await meddled()
    const [other, model, keys] = [opened(), freshModel(), keysOf(1_200)]
    await store.apply(model, written(model, keys, 3))
    const [last = ''] = keys.slice(-1)
    meddling.before = async (call) => {
      if (!counts('park')(call) || !call.arguments.includes(last)) return
      // It has written the row, and not yet moved the checkpoint.
      const ahead = batch(3, 9, [...deleted(model, keys.slice(0, 600), 3, 8), change(model, last, 3, 8, { name: 'c' })], {})
      const begun = await meddled()
      begun.meddling.before = breaking(isLast)
      await expect(begun.store.apply(model, { ...ahead, rows: [...ahead.rows].reverse() })).rejects.toThrow()
    }
    expect(await store.apply(model, batch(3, 9, [], { park: keys.map((key) => parkedAt(key, 7)) }))).toBe('lost')
    expect((await other.load(model, [last])).rows).toMatchObject([{ position: 8, parked: undefined }])
  })

  test('keys whose rows a repair takes away are parked at the events that failed, however long ago those were', async () => {
    const [store, model, keys] = [opened(), freshModel(), keysOf(1_200)]
    await store.apply(model, written(model, keys, 8))
    const parks = keys.map((key) => parkedAt(key, 5))
    expect(await store.apply(model, batch(8, 8, deleted(model, keys, 8, 8), { park: parks }))).toBe('applied')
    const { rows, parked } = await store.load(model, keys)
    expect([parked, rows.length]).toEqual([1_200, 1_200])
    expect(rows.every((row) => row.row === undefined && row.position === 0 && row.parked?.position === 5)).toBe(true)
  })

  test('forgets what it deleted, whole, when the checkpoint has passed it', async () => {
    const [store, model, keys] = [opened(), freshModel(), keysOf(3_000)]
    await store.apply(model, written(model, keys, 3))
    expect((await store.size?.(model))?.rows).toBe(3_000)
    expect(await store.apply(model, batch(3, 9, deleted(model, keys, 3, 8)))).toBe('applied')
    expect([await rememberedIn(model), await fieldsIn(model), (await store.size?.(model))?.rows]).toEqual([0, 0, 0])
  })

  test('deleted rows that the checkpoint has passed are not there, forgotten or not', async () => {
    const { store, meddling } = await meddled()
    const [model, keys] = [freshModel(), keysOf(1_200)]
    await store.apply(model, written(model, keys, 3))
    meddling.before = breaking(({ keys: [, second] }) => second?.endsWith(':deleted') === true)
    expect(await store.apply(model, batch(3, 9, deleted(model, keys, 3, 8), { park: [parkedAt('k0', 9)] }))).toBe('applied')
    expect([await rememberedIn(model), await fieldsIn(model)]).toEqual([1_000, 1_000])
    expect((await store.size?.(model))?.rows).toBe(0)
    const seen = await store.load(model, keys)
    expect(seen.rows).toMatchObject([{ key: 'k0', row: undefined, position: 0, parked: { position: 9 } }])
    // To the next batch, too, there is nothing.
    expect(await store.apply(model, batch(9, 12, [change(model, 'k1', 0, 11, { name: 'b' }), change(model, 'k2', 5, 11, null)]))).toBe(
      'applied',
    )
    meddling.before = () => {}
    for (let position = 12; (await rememberedIn(model)) > 0; position++) {
      expect(position).toBeLessThan(40)
      expect(await store.apply(model, batch(position, position + 1, []))).toBe('applied')
    }
    expect(await fieldsIn(model)).toBe(1)
    expect((await store.load(model, keys)).rows.map(({ key, position }) => [key, position])).toEqual([
      ['k0', 0],
      ['k1', 11],
    ])
  })

  test('what an interrupted batch deleted is remembered until its own checkpoint has passed it, whatever others write', async () => {
    const { store, meddling } = await meddled()
    const [other, model] = [opened(), freshModel()]
    const [mine, theirs] = [keysOf(1_200, low), keysOf(600, high)]
    await store.apply(model, { ...written(model, mine, 3), partitions: low })
    await other.apply(model, { ...written(model, theirs, 3), partitions: high })
    const whole = { ...batch(3, 9, deleted(model, mine, 3, 8)), partitions: low }
    meddling.before = breaking(isLast)
    await expect(store.apply(model, whole)).rejects.toMatchObject({ during: 'commit' })
    meddling.before = () => {}
    // The other range goes far beyond, with and without deletions of its own.
    await other.apply(model, { ...batch(3, 50, deleted(model, theirs, 3, 40)), partitions: high })
    for (let position = 50; position < 60; position++) await other.apply(model, { ...batch(position, position + 1, []), partitions: high })
    expect(await rememberedIn(model)).toBe(1_000)
    const between = await store.load(model, mine.slice(0, 1_000))
    expect(between.rows.map(({ row, position }) => [row, position])).toEqual(Array(1_000).fill([undefined, 8]))
    // A part of the way is not the whole.
    await store.apply(model, { ...batch(3, 5, []), partitions: low })
    expect(await rememberedIn(model)).toBe(1_000)
    expect(await store.apply(model, { ...whole, from: at(5) })).toBe('applied')
    expect([await rememberedIn(model), await fieldsIn(model)]).toEqual([0, 0])
  })

  /** A store that reads one step after the other, as on a network that is slow, and does something before the second one. */
  async function slowReader(between: () => Promise<unknown>) {
    const client = createClient({ url: server.url })
    await client.connect()
    const steps = { read: 0 }
    let before: Promise<unknown> = Promise.resolve()
    const meddler = {
      ...(await meddlingClient(server.url, () => {})),
      hmGet: (key: string, fields: string[]) => {
        const read = before.then(async () => {
          if (++steps.read === 2) await between()
          return client.hmGet(key, fields)
        })
        before = read
        return read
      },
    }
    closing.push(
      () => client.close(),
      () => meddler.close(),
    )
    return { store: redis(meddler), steps }
  }

  test('what was read in several steps is of one version, also when the store is emptied and filled between them', async () => {
    const [model, keys, other] = [freshModel(), keysOf(3_000), opened()]
    await other.apply(model, written(model, keys, 3))
    const { store, steps } = await slowReader(async () => {
      await other.drop(model)
      await other.apply(model, batch(null, 7, [change(model, 'k0', 0, 7, { name: 'b' })]))
    })
    const seen = await store.load(model, keys)
    expect(steps.read).toBe(6)
    expect([seen.checkpoint, seen.rows.map(({ key }) => key)]).toEqual([at(7), ['k0']])
  })

  test('what was read in several steps is at least at the checkpoint that is shown', async () => {
    const [model, keys, other] = [freshModel(), keysOf(3_000), opened()]
    await other.apply(model, written(model, keys, 3))
    const rows = keys.map((key) => change(model, key, 3, 7, { name: 'b' }))
    const { store, steps } = await slowReader(() => other.apply(model, batch(3, 7, rows)))
    const seen = await store.load(model, keys)
    expect(steps.read).toBe(3)
    expect(seen.checkpoint).toEqual(at(3))
    expect(new Set(seen.rows.map(({ position }) => position))).toEqual(new Set([3, 7]))
  })

  test('no script does more than its share, however large the batch', async ({ annotate }) => {
    const [store, model, keys] = [opened(), freshModel({ indexes: [] }), keysOf(20_000)]
    const [parked, gone] = [keys.slice(0, 10_000), keys.slice(10_000)]
    await store.load(model, [])
    const scripts: { commands: number; words: number }[] = []
    const monitor = createClient({ url: server.url })
    await monitor.connect()
    closing.push(async () => monitor.destroy())
    const ended = new Promise<void>((resolve) => {
      void monitor.monitor((line) => {
        const said = String(line)
        if (said.includes('"the end"')) resolve()
        else if (/^\S+ \[\d+ lua\]/.test(said)) {
          const script = scripts.at(-1)
          if (script) [script.commands, script.words] = [script.commands + 1, script.words + (said.match(/" "/g)?.length ?? 0) + 1]
        } else if (/"EVAL(SHA)?"/i.test(said)) scripts.push({ commands: 0, words: 0 })
      })
    })
    await server.control.sendCommand(['CONFIG', 'RESETSTAT'])
    await server.control.sendCommand(['SLOWLOG', 'RESET'])
    await store.apply(model, written(model, keys, 3, { to: at(9), park: parked.map((key) => parkedAt(key, 5)) }))
    await store.apply(model, batch(9, 19, deleted(model, gone, 3, 15), { stillParked: parked }))
    await store.apply(model, batch(19, 19, [], { unpark: parked }))
    await store.parked?.(model)
    await server.control.echo('the end')
    await ended
    expect(scripts.length).toBeGreaterThan(100)
    // A part has at most 500 rows and keys, and of each at most two commands, or its field, value and score in some.
    expect(Math.max(...scripts.map(({ commands }) => commands))).toBeLessThan(1_100)
    expect(Math.max(...scripts.map(({ words }) => words))).toBeLessThan(6_000)
    // Nothing reads a whole hash or set.
    expect(await server.control.info('commandstats')).not.toMatch(/cmdstat_(hgetall|hkeys|hvals|smembers):/)
    const slow = (await server.control.sendCommand(['SLOWLOG', 'GET', '-1'])) as unknown as readonly (readonly [number, number, number])[]
    await annotate(`the slowest of ${scripts.length} scripts took ${Math.max(...slow.map(([, , took]) => took)) / 1000} ms`)
  }, 120_000)
})
