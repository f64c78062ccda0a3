import { describe, expect, test } from 'vitest'
import { breakableRedis } from './support/breakable-store.ts'
import { counterSuite, server } from './support/counter-suite.ts'
import { expectedRows, storedRows } from './support/counters.ts'
import { redisMissing } from './support/store-addresses.ts'
import { waitUntil } from './support/wait.ts'

describe.skipIf(server?.skip || (await redisMissing()))('a Redis server that is out of memory', () => {
  const { opened, said, started, broken, direct, fill, statusesOf } = counterSuite()

  test('its read models wait and say so, commands and all others go on, and it recovers when there is memory', async () => {
    const { database, schema } = opened()
    const breakable = await broken(breakableRedis('--maxmemory-policy', 'noeviction'))
    const { control } = breakable.server
    const app = await started({ away: breakable.open(), home: undefined })
    await fill(app, 5)
    await app.settle()
    const before = await storedRows(direct(breakable), schema, 'away')
    await control.configSet('maxmemory', '1')
    const { token } = await app.execute('count', { id: 'k1', by: 50 })
    const { token: priced } = await app.execute('setPrice', { id: 'k1', price: 50 })
    await fill(app, 8)
    expect((await app.query('total_home', { id: 'k1' }, { after: token })).result).toMatchObject({ total: expect.any(Number) })
    expect((await app.query('price_home', { id: 'k1' }, { after: priced })).result).toMatchObject({ id: 'k1' })
    await waitUntil(async () => (await statusesOf(app, 'away')).every(({ state, error }) => state === 'live' && /OOM/.test(error ?? '')))
    // Tried again, later and later, and said each time.
    const pauses = (name: string) => said.filter(({ message, tryAgainMs }) => message.startsWith(`${name}: `) && tryAgainMs).length
    await waitUntil(() => pauses('totals_away') > 1 && pauses('prices_away') > 1)
    for (const { pending } of await statusesOf(app, 'away')) expect(pending).toBeGreaterThan(0)
    // What is there is answered, and nothing of a batch that was refused.
    expect((await app.query('total_away', { id: 'k1' })).result).toEqual({ total: 2, events: 1 })
    await expect(app.query('total_away', { id: 'k1' }, { after: token, waitMs: 50 })).rejects.toMatchObject({ code: 'behind' })
    expect(await storedRows(direct(breakable), schema, 'away')).toEqual(before)
    expect((await statusesOf(app, 'home')).map(({ state, error }) => [state, error])).toEqual(Array(2).fill(['live', undefined]))
    await control.configSet('maxmemory', '0')
    await app.settle()
    expect(await storedRows(direct(breakable), schema, 'away')).toEqual(await expectedRows(database, schema))
    expect((await app.query('price_away', { id: 'k1' }, { after: priced })).result).toMatchObject({ id: 'k1' })
    await waitUntil(async () => (await statusesOf(app, 'away')).every(({ state, error }) => state === 'live' && error === undefined))
  }, 120_000)
})
