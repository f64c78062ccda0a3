import type { Collection, Db, Document, MongoClient } from 'mongodb'
import {
  type Batch,
  type Clock,
  type RangeRequest,
  type RangeRow,
  refusedRow,
  type Seen,
  type Store,
  type StoredModel,
  type StoredRow,
  systemClock,
  UsageError,
} from '../../index.ts'
import { byKeys, fewByKeys } from './by-keys.ts'
import { MongodbConnection, type Opened, type ServerTraits } from './connection.ts'
import { collectionName, parkedOf, type RowDocument, storedRow, textField } from './document.ts'
import { failureOf } from './failure.ts'
import { type Holdable, whyNotHeld } from './holdable.ts'
import { lowestOf, type State, States, standsAt } from './state.ts'
import { type RefusedRow, RowWriter } from './writer.ts'

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
  /** The driver's database, open. A row is the field `row` of a document of {@link collectionName}; documents without it are deleted or parked. */
  readonly native: () => Promise<Db>
  /** What a reader of a version hands out. */
  nativeOf(model: StoredModel): Promise<MongodbNative>
  /** The collection with the rows of a version. */
  collectionName(model: StoredModel): string
  /** What the server is; where `hasCompareAndSet` is false only one owner at a time is safe. */
  traits(): Promise<ServerTraits>
  /** Closes the client if the store opened it. */
  close(): Promise<void>
}

/** The rows of a read model as MongoDB has them, for what `find` does not offer: to be read only, and at whatever moment they are. */
export interface MongodbNative {
  readonly database: Db
  /** Where its rows are: the field `row` of each document; one without it is deleted or parked. */
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

interface Versions {
  readonly opened: Opened
  readonly rows: Collection<RowDocument>
  readonly states: States
}

const tries = 20
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
    return this.#seen(model, async ({ rows, opened }) => {
      const found = await findOf(opened)(rows, [...new Set(keys)])
      return found.map(storedRow)
    })
  }

  async range(model: StoredModel, { index, from, to, reverse, limit }: RangeRequest): Promise<Seen<RangeRow>> {
    const field = index === undefined ? '_id' : textField(index)
    // Deleted and parked keys without a row have no texts; by key they must be left out by name.
    const live = index === undefined ? { row: { $exists: true } } : {}
    return this.#seen(model, async ({ rows }) => {
      const found = await rows
        .find({ [field]: { $gte: from, $lt: to }, ...live })
        .sort({ [field]: reverse ? -1 : 1 })
        .limit(limit)
        .toArray()
      return found.map((document) => ({
        key: document._id,
        row: JSON.stringify(document.row),
        position: Number(document.position),
        at: index === undefined ? document._id : (document.texts?.[`i${index}`] ?? ''),
      }))
    })
  }

  async apply(model: StoredModel, batch: Batch): Promise<'applied' | 'parked' | 'lost'> {
    if (batch.from && batch.to.position < batch.from.position) throw new UsageError(`${model.name}: a checkpoint never goes back`)
    return this.#run('commit', model, async (versions) => {
      const known = await versions.states.read(model)
      if (!standsAt(known, batch.partitions, batch.from) || this.#isTooOld(batch)) return 'lost'
      const state = known ?? (await versions.states.begun(model))
      const written = await this.#writeRows(versions, batch)
      if (written === 'lost') return 'lost'
      if (!(await this.#advance(model, versions, state, batch, written.recount))) return 'lost'
      await this.#purge(versions)
      return written.refused ? 'parked' : 'applied'
    })
  }

  async drop(model: StoredModel): Promise<void> {
    await this.#run('commit', model, async ({ rows, states }) => {
      await states.drop(model)
      await rows.drop().catch((error: unknown) => {
        if (!(error instanceof Error && Reflect.get(error, 'code') === 26)) throw error
      })
    })
  }

  async checkpoints(model: StoredModel) {
    const state = await this.#run('statement', model, ({ states }) => states.read(model))
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
    const found = await this.#run('statement', model, ({ rows }) => rows.find(isParked).toArray())
    return found.flatMap(({ _id, parked }) => (parked ? [{ key: _id, ...parkedOf(parked) }] : []))
  }

  async close(): Promise<void> {
    await this.#connection.close()
  }

  /** Rows, between two looks at the state: a version that was dropped meanwhile, or begun again, would answer as if it were empty. */
  async #seen<T>(model: StoredModel, read: (versions: Versions) => Promise<readonly T[]>): Promise<Seen<T>> {
    return this.#run('statement', model, async (versions) => {
      for (let time = 0; time < tries; time++) {
        const before = await versions.states.read(model)
        if (!before) return { checkpoint: null, rows: [], parked: 0 }
        const rows = await read(versions)
        const after = await versions.states.read(model)
        if (after?.incarnation === before.incarnation) return { checkpoint: lowestOf(before.runs), rows, parked: before.parked }
      }
      return { checkpoint: null, rows: [], parked: 0 }
    })
  }

  /** What it remembers of deleted rows may be gone when a process that slept goes on with what it read before. */
  #isTooOld({ readAt }: Batch): boolean {
    return readAt !== undefined && this.#clock.now() - readAt > this.#tombstoneMs / 4
  }

  /** Answers whether rows were refused, and whether keys were parked or taken back. */
  async #writeRows({ opened, rows }: Versions, batch: Batch): Promise<'lost' | { readonly refused: boolean; readonly recount: boolean }> {
    const long = (value: number) => opened.driver.Long.fromNumber(value)
    const update = opened.traits.server === 'ferretdb' ? 'updateMany' : 'updateOne'
    const writer = new RowWriter(rows, { byKeys: findOf(opened), update, long, now: () => new Date(this.#clock.now()) })
    const holdable = holdableBy(opened)
    const faults = batch.rows.map((change) => (change.row === null ? undefined : whyNotHeld(JSON.parse(change.row), holdable)))
    const written = await writer.write(batch.rows.filter((_, i) => faults[i] === undefined))
    if (written === 'lost') return 'lost'
    const refused: readonly RefusedRow[] = [
      ...written,
      ...batch.rows.flatMap((change, i) => (faults[i] === undefined ? [] : [{ change, reason: faults[i] }])),
    ]
    const unheld = refused.map(({ change, reason }) => refusedRow(batch, change, reason))
    const parked = [...unheld, ...batch.park.filter(({ key }) => !unheld.some((each) => each.key === key))]
    await writer.park(parked, batch.unpark, batch.to.position)
    return { refused: refused.length > 0, recount: parked.length + batch.unpark.length > 0 }
  }

  /** Other partitions may move at the same time: then it is tried again, for as long as these stand where they did. */
  async #advance(model: StoredModel, { rows, states }: Versions, begun: State, batch: Batch, recount: boolean): Promise<boolean> {
    let state: State | undefined = begun
    for (let time = 0; time < tries; time++) {
      if (state?.incarnation !== begun.incarnation || !standsAt(state, batch.partitions, batch.from)) return false
      const parked = recount ? await rows.countDocuments(isParked) : state.parked
      if (await states.advance(model, state, batch.partitions, batch.to, parked)) return true
      state = await states.read(model)
    }
    return false
  }

  /** At most once an hour; by hand, for the servers that know no expiry. */
  async #purge({ rows }: Versions): Promise<void> {
    const now = this.#clock.now()
    if (now - (this.#purged.get(rows.collectionName) ?? 0) < purgeEveryMs) return
    this.#purged.set(rows.collectionName, now)
    await rows.deleteMany({ deleted: { $lt: new Date(now - this.#tombstoneMs) }, parked: { $exists: false } })
  }

  async #run<T>(during: 'statement' | 'commit', model: StoredModel, work: (versions: Versions) => Promise<T>): Promise<T> {
    const opened = await this.#connection.opened()
    const rows = opened.database.collection<RowDocument>(collectionName(model))
    const states = new States(opened.database, (value) => opened.driver.Long.fromNumber(value), this.description)
    try {
      return await work({ opened, rows, states })
    } catch (error) {
      throw failureOf(error, this.description, during)
    }
  }
}

const isParked: Document = { parked: { $exists: true } }

function findOf({ traits }: Opened) {
  return traits.hasCompareAndSet ? byKeys : fewByKeys
}

function holdableBy({ traits, driver }: Opened): Holdable {
  return {
    documentBytesMax: traits.documentBytesMax,
    nestsArrays: traits.server !== 'ferretdb',
    bytesOf: (row) => driver.BSON.calculateObjectSize(Object(row)),
  }
}

/** Host and database, without what is secret. */
function addressOf(url: string): readonly [host: string, database: string] {
  const [, host = '', database = ''] = /^[a-z+]+:\/\/(?:[^@/]*@)?([^/?]*)(?:\/([^?]*))?/.exec(url) ?? []
  return [host, decodeURIComponent(database)]
}
