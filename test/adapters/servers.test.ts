import { afterEach, expect, test, vi } from 'vitest'
import type { setup } from '../support/servers.ts'

const said: string[] = []
vi.spyOn(process.stdout, 'write').mockImplementation((text) => {
  said.push(String(text))
  return true
})
afterEach(() => {
  vi.unstubAllEnvs()
  said.length = 0
})

async function setupWith(environment: Readonly<Record<string, string>>): Promise<void> {
  for (const [name, value] of Object.entries(environment)) vi.stubEnv(name, value)
  vi.resetModules()
  const { setup: fresh } = (await import('../support/servers.ts')) as { setup: typeof setup }
  await fresh()
}

const nothing = {
  DATABASE_URL: 'postgres://me@127.0.0.1:1/x',
  CHROMIUM_PATH: '/no/chromium',
  REDIS_URL: 'redis://:secret@127.0.0.1:2',
  MONGODB_URL: 'mongodb://me:secret@127.0.0.1:3/x',
}

test('one line says for each server what will be skipped and why', async () => {
  await setupWith({ ...nothing, HEADWATER_TEST_REQUIRE: '' })
  expect(said).toEqual([
    expect.stringMatching(/^the postgres suites will be skipped: .*127\.0\.0\.1:1 .*ECONNREFUSED.*\n$/),
    expect.stringMatching(/^the chromium suites will be skipped: .*\/no\/chromium.*\n$/),
    expect.stringMatching(/^the redis suites will be skipped: .*127\.0\.0\.1:2 .*ECONNREFUSED.*\n$/),
    expect.stringMatching(/^the mongodb suites will be skipped: .*127\.0\.0\.1:3 .*ECONNREFUSED.*\n$/),
  ])
})

test('a required server that is missing fails the run', async () => {
  await expect(setupWith({ ...nothing, HEADWATER_TEST_REQUIRE: 'postgres, chromium' })).rejects.toThrow(
    /postgres is required, but no PostgreSQL.*chromium is required, but no Chromium/,
  )
})

test('names of nothing are not accepted', async () => {
  await expect(setupWith({ HEADWATER_TEST_REQUIRE: 'postgers' })).rejects.toThrow(
    /nothing named "postgers"; known: postgres, chromium, redis, mongodb/,
  )
})
