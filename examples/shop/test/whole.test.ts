import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { built, type CataloguePage, Client } from './client.ts'
import { type RunningExample, startExample } from './running-example.ts'
import { onServers, type Place } from './targets.ts'

const main = fileURLToPath(new URL('../dist/main.js', import.meta.url))

/** Runs the built example until it ends by itself. */
async function run(settings: Readonly<Record<string, string>>, ...args: readonly string[]): Promise<{ code: number; said: string }> {
  const { DATABASE_URL: _server, REDIS_URL: _redis, MONGODB_URL: _mongodb, SEED: _seed, ...environment } = process.env
  const child = spawn(process.execPath, [main, ...args], {
    env: { ...environment, PORT: '0', ...settings },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let said = ''
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk: Buffer) => (said += chunk.toString()))
  const [code] = (await once(child, 'close')) as [number]
  return { code, said }
}

describe.each(onServers)('the shop from its first day to its last, on $name', { timeout: 300_000 }, ({ name, skip, prepare }) => {
  let place: Place
  let shop: RunningExample | undefined

  beforeAll(async () => {
    if (!skip) place = await prepare()
  }, 120_000)
  afterAll(async () => {
    await shop?.end()
    await place?.remove()
  })

  const test = it.skipIf(skip)

  test('a flash sale in an empty shop fills its shelves, adds up in both stores, and leaves nothing of itself', async () => {
    const { code, said } = await run(place.settings, '--load')
    expect(said).toMatch(/item 1: 75 in stock, \d+ sold; \d+ left in stock_levels \(\w+\), \d+ in catalogue \(\w+\)/)
    if (name.includes('Redis')) expect(said).toMatch(/stock_levels \(Redis\).*catalogue \(MongoDB\)/)
    expect([code, said]).toStrictEqual([0, expect.stringContaining('Nothing was oversold')])
    shop = await startExample(place.settings)
    await built(shop.url)
    const { url } = shop
    const categories = async () => (await new Client(url).read<CataloguePage>('catalogue', {})).facets.categories
    // What the process of the sale did last is taken in by the next.
    await expect.poll(async () => (await categories()).find(({ value }) => value === 'Flash sale')).toBeUndefined()
    expect((await categories()).reduce((sum, { count }) => sum + count, 0)).toBe(420)
  })

  test('is not reset while it is open, and begins anew after it was', async () => {
    const port = new URL(shop?.url ?? '').port
    expect(await run({ ...place.settings, PORT: port }, '--reset')).toMatchObject({ code: 2, said: expect.stringContaining('is open') })
    await shop?.end()
    const { code, said } = await run(place.settings, '--reset')
    expect([code, said]).toStrictEqual([0, expect.stringContaining('Removed the schemas')])
    shop = await startExample(place.settings)
    // What another application, or an older life of this one, had left there would stop them.
    await built(shop.url)
    expect(await new Client(shop.url).read('catalogue', {})).toMatchObject({ items: [], next: null })
  })
})
