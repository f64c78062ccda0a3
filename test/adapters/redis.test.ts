import { memory } from 'headwater/memory'
import { redis } from 'headwater/redis'
import { createClient } from 'redis'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { meddlingClient } from '../support/meddling-client.ts'
import { RedisServer } from '../support/redis-server.ts'
import { redisMissing } from '../support/store-addresses.ts'
import { batch, catchUp, change, contents, freshModel, someSteps } from '../support/stored-model.ts'

const skip = await redisMissing()
const end = { index: undefined, from: '', to: '\u{10ffff}', reverse: false, limit: 10_000 }

test('says its address without the password, and refuses braces in the prefix', async () => {
  expect(redis('redis://me:secret@127.0.0.1:1/3').description).toBe('redis://127.0.0.1:1/3')
  expect(() => redis('redis://127.0.0.1:1', { prefix: 'a{b}' })).toThrow(/braces/)
})

test('says at once that a server is not there', async () => {
  const store = redis('redis://127.0.0.1:1')
  const model = freshModel()
  await expect(store.load(model, ['x'])).rejects.toMatchObject({ code: 'database_unavailable', during: 'connect' })
  await expect(store.apply(model, batch(null, 1, []))).rejects.toMatchObject({ code: 'database_unavailable' })
  await store.close()
  await expect(store.load(model, ['x'])).rejects.toMatchObject({ code: 'usage' })
})

describe.skipIf(skip)('on a server of its own', () => {
  let server: RedisServer
  beforeAll(async () => {
    server = await RedisServer.start('--appendonly', 'no')
  })
  afterAll(() => server.stop())

  const meddling = (before: (calls: number) => Promise<unknown> | unknown) => meddlingClient(server.url, before)

  test('goes on when the server has forgotten the scripts, with one call for each read', async () => {
    const client = await meddling(() => {})
    const store = redis(client)
    const model = freshModel()
    await store.apply(model, batch(null, 1, [change(model, 'x', 0, 1, { name: 'a' })]))
    await server.control.sendCommand(['SCRIPT', 'FLUSH'])
    expect((await store.load(model, ['x', 'y'])).rows).toHaveLength(1)
    client.calls = 0
    await store.load(
      model,
      Array.from({ length: 50 }, (_, i) => `key ${i}`),
    )
    await store.range(model, end)
    expect(client.calls).toBe(2)
    await client.close()
  })

  test('leaves a client open that it was given', async () => {
    const client = createClient({ url: server.url })
    const store = redis(client)
    await store.load(freshModel(), [])
    expect(await store.native()).toBe(client)
    await store.close()
    expect(client.isOpen).toBe(true)
    await client.close()
  })

  test.each(['allkeys-lru', 'allkeys-random', 'allkeys-lfu'])('refuses a server that may drop keys: %s', async (policy) => {
    await server.control.configSet('maxmemory-policy', policy)
    const store = redis(server.url)
    const model = freshModel()
    await expect(store.load(model, [])).rejects.toMatchObject({ code: 'other_version', message: expect.stringContaining(policy) })
    await expect(store.apply(model, batch(null, 1, []))).rejects.toThrow(/noeviction/)
    await server.control.configSet('maxmemory-policy', 'volatile-lru')
    expect((await store.load(model, [])).checkpoint).toBeNull()
    await store.close()
    await server.control.configSet('maxmemory-policy', 'noeviction')
  })

  test('refuses a server that does not say which keys it drops', async () => {
    const client = await meddling(() => {})
    for (const said of ['# Memory\r\nused_memory:1\r\n', '', 'maxmemory_policy:\r\n']) {
      const store = redis({ ...client, info: async () => said })
      const wanted = { code: 'other_version', message: expect.stringMatching(/does not say which keys it drops.*noeviction/) }
      await expect(store.load(freshModel(), [])).rejects.toMatchObject(wanted)
    }
    await client.close()
  })

  test('refuses a server where it may not ask which keys are dropped', async () => {
    await server.control.sendCommand(['ACL', 'SETUSER', 'limited', 'on', '>secret', '~*', '&*', '+@all', '-info'])
    const store = redis(server.url.replace('//', '//limited:secret@'))
    const model = freshModel()
    const wanted = { code: 'other_version', message: expect.stringMatching(/does not say which keys it drops.*NOPERM.*noeviction/s) }
    await expect(store.load(model, [])).rejects.toMatchObject(wanted)
    await expect(store.apply(model, batch(null, 1, []))).rejects.toMatchObject(wanted)
    await server.control.sendCommand(['ACL', 'SETUSER', 'limited', '+info', '-config'])
    expect(await store.apply(model, batch(null, 1, []))).toBe('applied')
    await store.close()
  })

  test('refuses keys that something else uses, by name, before it writes anything', async () => {
    const store = redis(server.url)
    const model = freshModel()
    const base = `headwater:{${model.owner}:cards:1}`
    await server.control.set(`${base}:index:0`, 'mine')
    const wanted = { code: 'other_version', message: expect.stringMatching(/prefix/) }
    await expect(store.apply(model, batch(null, 1, [change(model, 'x', 0, 1, { name: 'a' })]))).rejects.toMatchObject(wanted)
    await expect(store.range(model, { ...end, index: 0 })).rejects.toMatchObject(wanted)
    expect(await server.control.keys(`${base}*`)).toEqual([`${base}:index:0`])
    await store.close()
  })

  test.each([
    ['no state', { somebody: 'mine' }],
    ['a state that does not parse', { '\0state': 'hello', '\0incarnation': 'x' }],
    ['a state without a count', { '\0state': '1|many|', '\0incarnation': 'x' }],
    ['a state with half a checkpoint', { '\0state': '1|0|0-63=5:=event-5;0-6', '\0incarnation': 'x' }],
  ])('refuses a hash of somebody else, by name: with %s', async (_what, hash) => {
    const store = redis(server.url)
    const model = freshModel()
    const rows = `headwater:{${model.owner}:cards:1}:rows`
    await server.control.hSet(rows, hash)
    const wanted = { code: 'other_version', name: 'IncompatibleStoreError', message: expect.stringContaining(`${rows} is a hash`) }
    await expect(store.load(model, ['x'])).rejects.toMatchObject(wanted)
    await expect(store.range(model, end)).rejects.toMatchObject(wanted)
    await expect(store.checkpoints?.(model)).rejects.toMatchObject(wanted)
    await expect(store.apply(model, batch(null, 1, [change(model, 'x', 0, 1, { name: 'a' })]))).rejects.toMatchObject(wanted)
    expect(await server.control.hGetAll(rows)).toEqual(hash)
    expect(await server.control.keys(`headwater:{${model.owner}:*`)).toEqual([rows])
    await store.close()
  })

  test('refuses a state without an incarnation before it writes anything', async () => {
    const store = redis(server.url)
    const model = freshModel()
    const rows = `headwater:{${model.owner}:cards:1}:rows`
    await server.control.hSet(rows, '\0state', '1|0|')
    await expect(store.apply(model, batch(null, 1, []))).rejects.toMatchObject({ code: 'other_version' })
    expect(await server.control.hLen(rows)).toBe(1)
    await store.close()
  })

  test('refuses what a newer version of Headwater wrote', async () => {
    const store = redis(server.url)
    const model = freshModel()
    await store.apply(model, batch(null, 1, []))
    await server.control.hSet(`headwater:{${model.owner}:cards:1}:rows`, '\0state', '2|0|')
    await expect(store.load(model, [])).rejects.toMatchObject({ code: 'newer_schema' })
    await expect(store.checkpoints?.(model)).rejects.toMatchObject({ code: 'newer_schema' })
    await expect(store.apply(model, batch(1, 2, []))).rejects.toMatchObject({ code: 'newer_schema' })
    await store.close()
  })

  test('takes a flushed store for one that was never built', async () => {
    const store = redis(server.url)
    const model = freshModel()
    await store.apply(model, batch(null, 5, [change(model, 'x', 0, 5, { name: 'a' })]))
    await store.load(model, ['x'])
    await server.control.flushAll()
    expect(await store.apply(model, batch(5, 6, [change(model, 'x', 5, 6, { name: 'b' })]))).toBe('lost')
    expect(await store.load(model, ['x'])).toEqual({ checkpoint: null, rows: [], parked: 0 })
    expect(await server.control.dbSize()).toBe(0)
    await store.close()
  })

  test('loses a batch of several parts when the store is flushed between them', async () => {
    const client = await meddling((call) => call === 4 && server.control.flushAll())
    const store = redis(client)
    const model = freshModel()
    const rows = Array.from({ length: 2_600 }, (_, i) => change(model, `key ${i}`, 0, i + 1, { name: 'a' }))
    await store.apply(freshModel(), batch(null, 0, []))
    expect(await store.apply(model, batch(null, 2_600, rows))).toBe('lost')
    expect((await store.load(model, [])).checkpoint).toBeNull()
    expect(await store.apply(model, batch(null, 2_600, rows))).toBe('applied')
    expect((await store.range(model, end)).rows).toHaveLength(2_600)
    await client.close()
  })

  test('remembers what an interrupted batch deleted until its checkpoint has passed', async () => {
    let broken = false
    const client = await meddling((call) => {
      if (broken && call % 3 === 0) throw new Error('the connection broke')
    })
    const store = redis(client)
    const model = freshModel()
    await store.apply(model, batch(null, 1, [change(model, 'x', 0, 1, { name: 'a' })]))
    client.calls = 0
    broken = true
    const many = Array.from({ length: 1_200 }, (_, i) => change(model, `key ${i}`, 0, i + 10, { name: 'b' }))
    const whole = batch(1, 2_000, [change(model, 'x', 1, 9, null), ...many])
    await expect(store.apply(model, whole)).rejects.toMatchObject({ during: 'commit' })
    broken = false
    const { checkpoint, rows } = await store.load(model, ['x', 'key 0'])
    expect(checkpoint?.position).toBe(1)
    expect(rows.map(({ key, row, position }) => [key, row !== undefined, position])).toEqual([
      ['x', false, 9],
      ['key 0', true, 10],
    ])
    expect((await store.range(model, { ...end, limit: 1 })).rows[0]?.key).toBe('key 0')
    await store.apply(model, batch(1, 5, []))
    expect((await store.load(model, ['x'])).rows[0]?.position).toBe(9)
    expect(await store.apply(model, { ...whole, from: { position: 5, eventId: 'event-5' } })).toBe('applied')
    expect((await store.load(model, ['x'])).rows).toEqual([])
    const base = `headwater:{${model.owner}:cards:1}`
    expect(await server.control.hLen(`${base}:deleted`)).toBe(0)
    expect(await server.control.hLen(`${base}:rows`)).toBe(1_202)
    await client.close()
  })

  test('finds a row again that an interrupted batch deleted, and the next one brought back', async () => {
    let broken = false
    const client = await meddling((call) => {
      if (broken && call % 3 === 0) throw new Error('the connection broke')
    })
    const store = redis(client)
    const model = freshModel()
    await store.apply(model, batch(null, 1, [change(model, 'x', 0, 1, { name: 'a' })]))
    client.calls = 0
    broken = true
    const many = Array.from({ length: 1_200 }, (_, i) => change(model, `key ${i}`, 0, i + 10, { name: 'b' }))
    await expect(store.apply(model, batch(1, 2_000, [change(model, 'x', 1, 9, null), ...many]))).rejects.toThrow()
    broken = false
    expect(await store.apply(model, batch(1, 3_000, [change(model, 'x', 9, 2_500, { name: 'c' })]))).toBe('applied')
    const { rows } = await store.range(model, { ...end, from: 'x', to: 'y' })
    expect(rows.map(({ key, position }) => [key, position])).toEqual([['x', 2_500]])
    await client.close()
  })

  test('writes no script larger than 500 rows or 256 KB', async () => {
    const sizes: [number, number][] = []
    const client = await meddling(() => {})
    const { evalSha } = client
    client.evalSha = (sha, call) => {
      sizes.push([Number(call.arguments[9]), call.arguments.join('').length])
      return evalSha(sha, call)
    }
    const store = redis(client)
    const model = freshModel()
    await store.load(model, [])
    sizes.length = 0
    const rows = Array.from({ length: 1_300 }, (_, i) =>
      change(model, `key ${i}`, 0, i + 1, { name: 'a', text: 'x'.repeat(i < 50 ? 20_000 : 10) }),
    )
    await store.apply(model, batch(null, 1_300, rows))
    expect(sizes.reduce((sum, [count]) => sum + count, 0)).toBe(1_300)
    for (const [count, bytes] of sizes) {
      expect(count).toBeLessThanOrEqual(500)
      expect(bytes).toBeLessThan(400 * 1024)
    }
    await client.close()
  })

  test('loses a batch of several parts for a row in the middle of it', async () => {
    const store = redis(server.url)
    const model = freshModel()
    await store.apply(model, batch(null, 5, [change(model, 'key 700', 0, 5, { name: 'a' })]))
    const rows = Array.from({ length: 1_800 }, (_, i) => change(model, `key ${i}`, 0, i + 10, { name: 'b' }))
    expect(await store.apply(model, batch(5, 2_000, rows))).toBe('lost')
    const { checkpoint, rows: found } = await store.load(model, ['key 700'])
    expect([checkpoint?.position, found[0]?.position]).toEqual([5, 5])
    await store.close()
  })

  test('takes more keys than a script can hand to one command', async () => {
    const store = redis(server.url)
    const model = freshModel()
    const keys = Array.from({ length: 9_000 }, (_, i) => `key ${i}`)
    const park = keys.map((key, i) => ({ key, position: i + 1, eventId: null, reason: 'no' }))
    expect(await store.apply(model, batch(null, 9_000, [], { park }))).toBe('applied')
    expect((await store.load(model, keys)).rows).toHaveLength(9_000)
    expect(await store.apply(model, batch(9_000, 9_001, [], { unpark: keys }))).toBe('applied')
    expect((await store.load(model, keys)).rows).toHaveLength(0)
    await store.close()
  })

  test('CLIENT KILL during batches: nothing is doubled, nothing lost', async () => {
    const steps = someSteps(3_000, 7)
    const [store, other, model] = [redis(server.url), memory(), freshModel()]
    await catchUp(other, model, steps, 500)
    let batches = 0
    await catchUp(store, model, steps, 40, async () => {
      // Not awaited: some fall before the batch, some into it, some behind it.
      if (++batches % 3 === 0) void server.control.sendCommand(['CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes']).catch(() => {})
    })
    expect(await contents(store, model)).toEqual(await contents(other, model))
    expect((await store.load(model, [])).checkpoint?.position).toBe(3_000)
    await store.close()
  })

  test('FLUSHALL between reading and writing, at any time: it ends as the fold', async () => {
    const steps = someSteps(600, 11)
    const [store, other, model] = [redis(server.url), memory(), freshModel()]
    await catchUp(other, model, steps, 100)
    let batches = 0
    await catchUp(store, model, steps, 50, async () => (++batches % 7 === 0 && batches < 40 ? server.control.flushAll() : undefined))
    expect(await contents(store, model)).toEqual(await contents(other, model))
    await store.close()
  })
})

test.skipIf(skip)('a server that comes back without its last second is caught up again', async () => {
  const server = await RedisServer.start()
  const steps = someSteps(1_000, 3)
  const [store, other, model] = [redis(server.url), memory(), freshModel()]
  await catchUp(store, model, steps.slice(0, 400), 60)
  await server.snapshot()
  await catchUp(store, model, steps.slice(0, 900), 60)
  const before = await store.load(model, [])
  expect(before.checkpoint?.position).toBe(900)
  await server.kill()
  await expect(store.load(model, [])).rejects.toMatchObject({ code: 'database_unavailable' })
  await server.start()
  const late = { ...batch(null, 1_000, []), from: before.checkpoint }
  const outcome = await store.apply(model, late).catch((error: { code: string }) => error.code)
  expect(['lost', 'database_unavailable']).toContain(outcome)
  await expect
    .poll(() =>
      store.load(model, []).then(
        ({ checkpoint }) => checkpoint?.position,
        () => undefined,
      ),
    )
    .toBe(400)
  expect(await store.apply(model, late)).toBe('lost')
  await catchUp(store, model, steps, 60)
  await catchUp(other, model, steps, 100)
  expect(await contents(store, model)).toEqual(await contents(other, model))
  // Behind the same address there may be another server now, or the same with other settings.
  await server.kill()
  await server.start('--maxmemory-policy', 'allkeys-lru')
  await expect.poll(() => store.load(model, []).catch((error: Error) => error.message)).toMatch(/noeviction/)
  await store.close()
  await server.stop()
})
