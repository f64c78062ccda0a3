import { MongoClient } from 'mongodb'
import { createClient } from 'redis'

/*
 * Stores for read models, and bare clients beside them. Addresses come from REDIS_URL and MONGODB_URL, with the local servers as defaults; names are the
 * benchmark's own, and what is under them goes with it.
 */

export const redisUrl = process.env.REDIS_URL || 'redis://127.0.0.1:6379'
export const mongodbUrl = process.env.MONGODB_URL || 'mongodb://127.0.0.1:27017'

/** @typedef {{ readonly kind: 'redis' | 'mongodb', readonly url: string, readonly name: string }} StoreAddress */

/**
 * The stores whose servers answer; of the others it is said that they are left out.
 * @param {import('./database.mjs').Workplace} place
 * @param {import('./report.mjs').Report} report
 */
export async function openStores(place, report) {
  /** @type {({ readonly label: string, readonly address: StoreAddress } & Bare)[]} */
  const stores = []
  for (const [label, open] of /** @type {const} */ ([
    ['Redis', bareRedis],
    ['MongoDB', bareMongodb],
  ])) {
    try {
      stores.push({ label, ...(await open(place)) })
    } catch (error) {
      report.say(`  ${label} is left out: ${error instanceof Error ? error.message : error}`)
    }
  }
  return stores
}

/** @typedef {Awaited<ReturnType<typeof bareRedis>> | Awaited<ReturnType<typeof bareMongodb>>} Bare */

async function bareRedis(place) {
  const name = `${place.schema('redis')}:`
  const client = createClient({ url: redisUrl, socket: { connectTimeout: 2000, reconnectStrategy: false } })
  client.on('error', () => {})
  await client.connect()
  place.onClose(async () => {
    for await (const keys of client.scanIterator({ MATCH: `${name}*`, COUNT: 1000 })) if (keys.length > 0) await client.unlink(keys)
    client.destroy()
  })
  return { kind: /** @type {const} */ ('redis'), client, address: { kind: /** @type {const} */ ('redis'), url: redisUrl, name } }
}

async function bareMongodb(place) {
  const name = place.schema('mongodb')
  const client = new MongoClient(mongodbUrl, { serverSelectionTimeoutMS: 2000 })
  await client.connect()
  const database = client.db(name)
  const isFerretDB = 'ferretdbVersion' in (await database.admin().buildInfo())
  place.onClose(async () => {
    await database.dropDatabase()
    await client.close()
  })
  return {
    kind: /** @type {const} */ ('mongodb'),
    client,
    database,
    isFerretDB,
    address: { kind: /** @type {const} */ ('mongodb'), url: mongodbUrl, name },
  }
}
