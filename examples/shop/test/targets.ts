import { randomUUID } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Database } from 'headwater'
import { mongodb } from 'headwater/mongodb'
import { pglite, postgres } from 'headwater/postgres'
import { createClient } from 'redis'
import { postgresMissing, postgresUrl } from '../../../test/support/addresses.ts'
import { mongodbMissing, mongodbUrl, redisMissing, redisUrl } from '../../../test/support/store-addresses.ts'

/** Where the example can run, with its own empty database and stores. */
export interface Target {
  readonly name: string
  readonly skip: string | false
  readonly prepare: () => Promise<Place>
}

export interface Place {
  readonly settings: Readonly<Record<string, string>>
  /** The database itself; on PGlite only while the example does not run. */
  open(): Database
  remove(): Promise<void>
}

const noPostgres = await postgresMissing()
const noStores = noPostgres || (await redisMissing()) || (await mongodbMissing())

/** Everything in one PostgreSQL, and each read model in its own kind of store. */
export const onServers: readonly Target[] = [
  { name: 'PostgreSQL', skip: noPostgres, prepare: () => onServer({ stores: false }) },
  { name: 'PostgreSQL, Redis and MongoDB', skip: noStores, prepare: () => onServer({ stores: true }) },
]

export const targets: readonly Target[] = [{ name: 'PGlite', skip: false, prepare: inDirectory }, ...onServers]

async function inDirectory(): Promise<Place> {
  const directory = mkdtempSync(join(tmpdir(), 'shop-'))
  return {
    settings: { DATA_DIR: directory },
    open: () => pglite(directory),
    remove: async () => rmSync(directory, { recursive: true, force: true }),
  }
}

/** A database of its own, because the example's schemas have fixed names; and in the stores names of its own. */
async function onServer({ stores }: { readonly stores: boolean }): Promise<Place> {
  const name = `shop_${randomUUID().replaceAll('-', '')}`
  const run = async (text: string) => {
    const server = postgres(postgresUrl, { poolSize: 1 })
    await server.query(text).finally(() => server.close())
  }
  await run(`create database ${name}`)
  const url = new URL(postgresUrl)
  url.pathname = `/${name}`
  const documents = new URL(mongodbUrl)
  documents.pathname = `/${name}`
  const inStores = { REDIS_URL: redisUrl, REDIS_PREFIX: `${name}:`, MONGODB_URL: documents.href }
  return {
    settings: { DATABASE_URL: url.href, ...(stores && inStores) },
    open: () => postgres(url.href, { poolSize: 1 }),
    remove: async () => {
      await run(`drop database ${name} with (force)`)
      if (stores) await Promise.all([clearRedis(`${name}:`), clearMongodb(documents.href)])
    },
  }
}

async function clearRedis(prefix: string): Promise<void> {
  const client = await createClient({ url: redisUrl }).connect()
  for await (const keys of client.scanIterator({ MATCH: `${prefix}*`, COUNT: 1000 })) if (keys.length > 0) await client.del(keys)
  await client.close()
}

async function clearMongodb(url: string): Promise<void> {
  const store = mongodb(url)
  await (await store.native()).dropDatabase()
  await store.close()
}
