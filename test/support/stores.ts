import { randomBytes } from 'node:crypto'
import type { Store } from 'headwater'
import { memory } from 'headwater/memory'
import { mongodb } from 'headwater/mongodb'
import { postgres, postgresStore } from 'headwater/postgres'
import { redis } from 'headwater/redis'
import { afterAll } from 'vitest'
import { postgresMissing, postgresUrl } from './addresses.ts'
import { mongodbMissing, mongodbUrl, redisMissing, redisUrl } from './store-addresses.ts'

export { mongodbUrl, redisUrl } from './store-addresses.ts'

/** A kind of store that a suite runs on. */
export interface StoreTarget {
  readonly name: 'memory' | 'postgres' | 'redis' | 'mongodb'
  /** Why it cannot run here, or false. */
  readonly skip: string | false
  /** Why several owners at once cannot be tried on it, or false. */
  readonly singleOwner: string | false
  /** Why an array cannot be an element of another there, or false. */
  readonly flatArrays: string | false
  /** How many rows the largest batch has. */
  readonly largeBatch: number
  /** The store, opened once more: what one wrote the other sees. Whoever opens it closes it. */
  open(): Promise<Store>
}

/** What names of this run begin with, so that runs beside each other do not meet. */
export const run = `test_${randomBytes(4).toString('hex')}`

const inProcess = memory()

const postgresSkip = await postgresMissing()
const mongodbSkip = await mongodbMissing()
export const isFerret = !mongodbSkip && (await isFerretDb())

const everything = { singleOwner: false, flatArrays: false, largeBatch: 5_000 } as const

/** What suites that run on every store use, as {@link databases} for databases. */
export const stores: readonly StoreTarget[] = [
  { name: 'memory', skip: false, ...everything, open: async () => inProcess },
  {
    name: 'postgres',
    skip: postgresSkip,
    ...everything,
    open: async () => postgresStore(postgresUrl, { schema: `${run}_store`, poolSize: 4 }),
  },
  {
    name: 'redis',
    skip: await redisMissing(),
    ...everything,
    open: async () => redis(redisUrl, { prefix: `${run}:` }),
  },
  {
    name: 'mongodb',
    skip: mongodbSkip,
    singleOwner: isFerret && 'FerretDB 1 has no atomic compare-and-set; MONGODB_URL may name a real mongod',
    flatArrays: isFerret && 'FerretDB 1 holds no arrays in arrays',
    // It looks at every document for each that is written.
    largeBatch: isFerret ? 500 : everything.largeBatch,
    open: async () => mongodb(mongodbUrl, { database: run }),
  },
]

async function isFerretDb(): Promise<boolean> {
  const store = mongodb(mongodbUrl)
  const { server } = await store.traits()
  await store.close()
  return server === 'ferretdb'
}

/** What this run made in the servers goes after the last test of a file that imports this one. */
afterAll(async () => {
  if (!postgresSkip) {
    const server = postgres(postgresUrl, { poolSize: 1 })
    await server.query(`drop schema if exists ${run}_store cascade`)
    await server.close()
  }
  if (mongodbSkip) return
  const store = mongodb(mongodbUrl, { database: run })
  await (await store.native()).dropDatabase()
  await store.close()
})
