import { randomUUID } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { freePort } from '../../../test/support/free-port.ts'
import { built, Client, type OrderPage, type Product } from './client.ts'
import { type RunningExample, startExample } from './running-example.ts'
import { onServers, type Place } from './targets.ts'

describe.each(onServers)('the shop in parts, on $name', { timeout: 120_000 }, ({ skip, prepare }) => {
  let place: Place
  let alone: Readonly<Record<string, string>>
  let commands: RunningExample
  let queries: RunningExample
  let projections: RunningExample

  beforeAll(async () => {
    if (skip) return
    place = await prepare()
    alone = { ...place.settings, COMMANDS_URL: '', QUERIES_URL: '' }
    commands = await startExample(alone, ['--role', 'commands'])
    queries = await startExample({ ...place.settings, COMMANDS_URL: commands.url }, ['--role', 'queries'])
    projections = await startExample(alone, ['--role', 'projections'])
    await built(queries.url)
  }, 120_000)
  afterAll(async () => {
    await Promise.all([commands?.end(), queries?.end(), projections?.end()])
    await place?.remove()
  })

  const test = it.skipIf(skip)

  test('one process writes, one keeps, one answers', async () => {
    const client = new Client(queries.url)
    const [productId, customerId, orderId] = [randomUUID(), randomUUID(), randomUUID()]
    await client.execute('addProduct', { productId, name: 'Parted', category: 'Parts', price: 100, stock: 5 })
    await client.execute('placeOrder', { orderId, customerId, lines: [{ productId, quantity: 2 }] })
    expect(await client.read<Product>('product', { productId })).toMatchObject({ stock: 3 })
    expect((await client.read<OrderPage>('orderHistory', { customerId })).items.map((order) => order.orderId)).toStrictEqual([orderId])
    expect((await fetch(`${projections.url}/health`)).status).toBe(200)
    // What a process was not started for it does not do, unless it knows who does.
    const restock = await new Client(projections.url).command('restock', { productId, quantity: 1 })
    expect([restock.status, ((await restock.json()) as { code: string }).code]).toStrictEqual([503, 'unavailable'])
    const asked = await new Client(commands.url).query('product', { productId })
    expect([asked.status, ((await asked.json()) as { code: string }).code]).toStrictEqual([503, 'unavailable'])
  })

  test('what comes back to a process that does not do it goes no further, and no answer names an address', async () => {
    const lost = await startExample({ ...place.settings, COMMANDS_URL: queries.url, QUERIES_URL: 'http://127.0.0.1:1' }, [
      '--role',
      'projections',
    ])
    const wrong = await startExample({ ...place.settings, COMMANDS_URL: lost.url }, ['--role', 'queries'])
    try {
      // The one that it would be handed on to has no commands either.
      const response = await new Client(wrong.url).command('restock', { productId: randomUUID(), quantity: 1 })
      expect([response.status, ((await response.json()) as { code: string }).code]).toStrictEqual([508, 'loop'])
      const asked = await new Client(lost.url).query('stores')
      const problem = await asked.text()
      expect([asked.status, problem]).toStrictEqual([503, expect.stringContaining('"code":"unavailable"')])
      expect(problem).not.toMatch(/127\.0\.0\.1|http:/)
    } finally {
      await Promise.all([lost.end(), wrong.end()])
    }
  })

  test('a process that would hand on to itself is not started', async () => {
    const port = String(await freePort())
    const settings = { ...alone, PORT: port, COMMANDS_URL: `http://localhost:${port}` }
    await expect(startExample(settings, ['--role', 'queries'])).rejects.toThrow(
      /COMMANDS_URL is http:\/\/localhost:\d+, which is this process/,
    )
  })

  test('what nobody keeps waits, and is there when somebody does again', async () => {
    const client = new Client(queries.url)
    const productId = randomUUID()
    expect(await projections.end()).toBe(0)
    await client.execute('addProduct', { productId, name: 'Waiting', category: 'Parts', price: 100, stock: 1 })
    const response = await fetch(`${queries.url}/queries/product?input=${encodeURIComponent(JSON.stringify({ productId }))}`, {
      headers: { 'Headwater-Token': client.token ?? '', 'Headwater-Wait-Ms': '0' },
    })
    expect([response.status, ((await response.json()) as { code: string }).code]).toStrictEqual([503, 'behind'])
    projections = await startExample(alone, ['--role', 'projections'])
    expect(await client.read<Product>('product', { productId })).toMatchObject({ name: 'Waiting', stock: 1 })
  })

  test('another process may be killed while it keeps, and the next takes over', async () => {
    const client = new Client(queries.url)
    const productId = randomUUID()
    await client.execute('addProduct', { productId, name: 'Taken over', category: 'Parts', price: 100, stock: 1000 })
    const other = await startExample(alone, ['--role', 'projections'])
    await Promise.all(
      Array.from({ length: 40 }, async (_, i) => {
        if (i === 20) await projections.end('SIGKILL')
        await client.execute('placeOrder', { orderId: randomUUID(), customerId: randomUUID(), lines: [{ productId, quantity: 1 }] })
      }),
    )
    projections = other
    await client.execute('restock', { productId, quantity: 1 })
    expect((await client.read<Product>('product', { productId })).stock).toBe(961)
  })
})
