import type { Collection, Db, MongoClient } from 'mongodb'
import {
  type Batch,
  type Clock,
  type RangeRequest,
  type RangeRow,
  type Seen,
  type Store,
  type StoredModel,
  type StoredRow,
  systemClock,
  UsageError,
} from '../../index.ts'
import { BatchApplication } from './batch-application.ts'
import { MongodbConnection, type ServerTraits } from './connection.ts'
import { collectionName, ours, parkedOf, type RowDocument, storedRow, textField } from './document.ts'
import { failureOf, isVanished } from './failure.ts'
import { lowestOf, type State, standsAt } from './state.ts'
import { isParked, Version } from './version.ts'

/** Where in the server, and for how long deleted rows are remembered. */
export interface MongodbOptions {
  /** The database. Default: the one that the address names, else `headwater`. */
  readonly database?: string
  /** For how many days a deleted row is remembered; at least 7, the default. A process that slept for a quarter of that writes nothing more. */
  readonly tombstoneDays?: number
  /** How long the server may be silent while it owes an answer, after which its connection is given up. Default 60,000: an index may take long to make. */
  readonly answerTimeoutMs?: number
  readonly clock?: Clock
}

/**
 * Read models in MongoDB. A list may be newer than its checkpoint, row by row; no row is older. Against owners that slept it is safe for as long as
 * deleted rows are remembered.
 */
export interface MongodbStore extends Store {
  /** The driver's database, open. A row is the field `row` of a document of {@link collectionName}; documents without it are deleted, parked, or the version's marker. */
  readonly native: () => Promise<Db>
  /** What a reader of a version hands out. */
  nativeOf(model: StoredModel): Promise<MongodbNative>
  /** The collection with the rows of a version. */
  collectionName(model: StoredModel): string
  /** What the server is; where `hasCompareAndSet` is false only one process at a time may own it. */
  traits(): Promise<ServerTraits>
  /** Closes the client if the store opened it. */
  close(): Promise<void>
}

/** The rows of a read model as MongoDB has them, for what `find` does not offer: to be read only, and at whatever moment they are. */
export interface MongodbNative {
  readonly database: Db
  /** Where its rows are: the field `row` of each document; one without it is deleted or parked, or is the version's own marker (its `_id` is no text). */
  readonly collection: Collection<RowDocument>
}

/**
 * Read models in MongoDB, through the package `mongodb`, which has to be installed. Takes an address, and then connects when it is first used; or a
 * client, which stays the caller's to close. A server on its own is enough: no transaction over several documents is used.
 *
 * @example
 * const store = mongodb('mongodb://localhost:27017/shop')
 */
export function mongodb(urlOrClient: string | MongoClient, options: MongodbOptions = {}): MongodbStore {
  const { tombstoneDays = 7 } = options
  if (!(tombstoneDays >= 7)) throw new UsageError(`mongodb(): "tombstoneDays" must be at least 7, not ${tombstoneDays}`)
  const [host, named] = typeof urlOrClient === 'string' ? addressOf(urlOrClient) : ['', '']
  const name = options.database ?? (named || 'headwater')
  const description = `mongodb://${host}/${name}`
  return new DocumentStore(
    new MongodbConnection(urlOrClient, name, { description, answerTimeoutMs: options.answerTimeoutMs ?? 60_000 }),
    description,
    {
      tombstoneMs: tombstoneDays * 86_400_000,
      clock: options.clock ?? systemClock,
    },
  )
}

const purgeEveryMs = 3_600_000

class DocumentStore implements MongodbStore {
  readonly description: string
  readonly native: () => Promise<Db>
  readonly #connection: MongodbConnection
  readonly #tombstoneMs: number
  readonly #clock: Clock
  readonly #purged = new Map<string, number>()

  constructor(connection: MongodbConnection, description: string, options: { readonly tombstoneMs: number; readonly clock: Clock }) {
    this.#connection = connection
    this.description = description
    this.#tombstoneMs = options.tombstoneMs
    this.#clock = options.clock
    this.native = async () => (await connection.opened()).database
  }

  async nativeOf(model: StoredModel): Promise<MongodbNative> {
    const { database } = await this.#connection.opened()
    return { database, collection: database.collection<RowDocument>(collectionName(model)) }
  }

  collectionName(model: StoredModel): string {
    return collectionName(model)
  }

  async traits(): Promise<ServerTraits> {
    return (await this.#connection.opened()).traits
  }

  async load(model: StoredModel, keys: readonly string[]): Promise<Seen<StoredRow>> {
    return this.#run('statement', model, async (version) => {
      if (keys.length === 0) return this.#seen(version, await version.state.standing(), [])
      const state = await version.state.read()
      if (!state) return missing
      const { found, incarnation } = await version.byKeys.findMarked([...new Set(keys)])
      return incarnation === state.incarnation ? this.#seen(version, state, found.map(storedRow)) : missing
    })
  }

  async range(model: StoredModel, request: RangeRequest): Promise<Seen<RangeRow>> {
    return this.#run('statement', model, async (version) => {
      const state = await version.state.read()
      if (!state) return missing
      const rows = await rangeOf(version, request)
      // Last of all: a version whose rows went meanwhile would answer as if it were empty.
      return (await version.marker.read()) === state.incarnation ? this.#seen(version, state, rows) : missing
    })
  }

  async apply(model: StoredModel, batch: Batch): Promise<'applied' | 'parked' | 'lost'> {
    if (batch.from && batch.to.position < batch.from.position) throw new UsageError(`${model.name}: a checkpoint never goes back`)
    return this.#run('commit', model, async (version) => {
      const known = await version.state.standing()
      if (!standsAt(known, batch.partitions, batch.from) || this.#isTooOld(batch)) return 'lost'
      const state = known ?? (await this.#begun(version))
      if (!standsAt(state, batch.partitions, batch.from) || !state) return 'lost'
      const isPurgeDue = this.#isPurgeDue(version)
      const application = new BatchApplication(version, batch, state, () => new Date(this.#clock.now()))
      const outcome = await application.run({ recount: isPurgeDue })
      if (outcome !== 'lost' && isPurgeDue) await this.#purge(version)
      return outcome
    })
  }

  async drop(model: StoredModel): Promise<void> {
    await this.#run('commit', model, ({ state }) => state.drop())
  }

  async checkpoints(model: StoredModel) {
    const state = await this.#run('statement', model, (version) => version.state.standing())
    return (state?.runs ?? []).map(({ first, last, value }) => ({ partitions: { first, last }, checkpoint: value }))
  }

  /** FerretDB answers only equality by an index, and its own would refuse long texts: there is nothing to be made there. */
  async index(model: StoredModel): Promise<void> {
    await this.#run('commit', model, async ({ rows, opened }) => {
      if (!opened.traits.hasCompareAndSet) return
      await rows.createIndexes([
        ...model.indexes.map(({ name }, i) => ({ key: { [textField(i)]: 1 as const }, name })),
        { key: { deleted: 1 }, name: 'headwater_deleted', sparse: true },
        { key: { 'parked.position': 1 }, name: 'headwater_parked', sparse: true },
      ])
    })
  }

  async size(model: StoredModel) {
    return this.#run('statement', model, async ({ rows, opened }) => {
      const stats = await opened.database.command({ collStats: rows.collectionName })
      return { rows: await rows.countDocuments({ row: { $exists: true } }), bytes: Number(stats.size) + Number(stats.totalIndexSize ?? 0) }
    })
  }

  async parked(model: StoredModel) {
    const found = await this.#run('statement', model, async ({ rows }) => ours(await rows.find(isParked).toArray(), rows.namespace))
    return found.flatMap(({ _id, parked }) => (parked ? [{ key: _id, ...parkedOf(parked) }] : []))
  }

  async close(): Promise<void> {
    await this.#connection.close()
  }

  async #seen<T>(version: Version, state: State | undefined, rows: readonly T[]): Promise<Seen<T>> {
    return state ? { checkpoint: lowestOf(state.runs), rows, parked: await version.parkedCount(state) } : missing
  }

  /** What it remembers of deleted rows may be gone when a process that slept goes on with what it read before. */
  #isTooOld({ readAt }: Batch): boolean {
    return readAt !== undefined && this.#clock.now() - readAt > this.#tombstoneMs / 4
  }

  /** A new version remembers nothing that could be purged. */
  async #begun(version: Version): Promise<State | undefined> {
    this.#purged.set(version.rows.collectionName, this.#clock.now())
    return version.state.begun()
  }

  #isPurgeDue({ rows }: Version): boolean {
    return this.#clock.now() - (this.#purged.get(rows.collectionName) ?? 0) >= purgeEveryMs
  }

  /** At most once an hour; by hand, for the servers that know no expiry. */
  async #purge({ rows }: Version): Promise<void> {
    const now = this.#clock.now()
    this.#purged.set(rows.collectionName, now)
    await rows.deleteMany({ deleted: { $lt: new Date(now - this.#tombstoneMs) }, parked: { $exists: false } })
  }

  async #run<T>(during: 'statement' | 'commit', model: StoredModel, work: (version: Version) => Promise<T>): Promise<T> {
    const opened = await this.#connection.opened()
    for (let time = 1; ; time++) {
      try {
        return await work(new Version(opened, model, this.description))
      } catch (error) {
        // To repeat what was broken off is harmless, and now the collection is seen not to be there.
        if (time >= tries || !isVanished(error)) throw failureOf(error, this.description, during)
      }
    }
  }
}

/** How often what met a collection as it was dropped is done again. */
const tries = 5

/** A version that is not in the store. */
const missing: Seen<never> = { checkpoint: null, rows: [], parked: 0 }

async function rangeOf({ rows }: Version, { index, from, to, reverse, limit }: RangeRequest): Promise<readonly RangeRow[]> {
  const field = index === undefined ? '_id' : textField(index)
  // Deleted and parked keys without a row have no texts; by key they must be left out by name.
  const live = index === undefined ? { row: { $exists: true } } : {}
  const found = await rows
    .find({ [field]: { $gte: from, $lt: to }, ...live }, { batchSize: limit })
    .sort({ [field]: reverse ? -1 : 1 })
    .limit(limit)
    .toArray()
  return ours(found, rows.namespace).map((document) => ({
    key: document._id,
    row: JSON.stringify(document.row),
    position: Number(document.position),
    at: index === undefined ? document._id : (document.texts?.[`i${index}`] ?? ''),
  }))
}

/** Host and database, without what is secret. */
function addressOf(url: string): readonly [host: string, database: string] {
  const [, host = '', database = ''] = /^[a-z+]+:\/\/(?:[^@/]*@)?([^/?]*)(?:\/([^?]*))?/.exec(url) ?? []
  return [host, decodeURIComponent(database)]
}
