import { randomUUID } from 'node:crypto'
import type { RedisClientType } from 'redis'
import {
  type Batch,
  type Parked,
  partitionOf,
  type RangeRequest,
  type RangeRow,
  type RowChange,
  refusedRow,
  type Seen,
  type Store,
  type StoredModel,
  type StoredRow,
  UsageError,
} from '../../index.ts'
import { openClient, type RedisClient, RedisConnection } from './connection.ts'
import { newerFormat } from './failure.ts'
import { keysOf, ownFields, type RedisKeys, stateField } from './keys.ts'
import { partsOf } from './parts.ts'
import { applyScript, dropScript, loadScript, parkedScript, rangeScript, sizeScript } from './scripts.ts'
import { checkpointText, lowestOf, parseState, rowText, storedRow } from './text.ts'

/** How the keys on the server are named. */
export interface RedisOptions {
  /** What all keys begin with. Default `headwater:`. */
  readonly prefix?: string
  /** How long the server may be silent while it owes an answer, after which the connection is given up. For connections that the store opens. Default 10,000. */
  readonly answerTimeoutMs?: number
}

/** The rows of a read model as Redis has them, for what `find` does not offer: to be read only, and at whatever moment they are. */
export interface RedisNative<C extends RedisClient = RedisClient> {
  readonly client: C
  /** Under which keys they are: a row is in the hash `rows`, as `<position>:<version>:<JSON>`. */
  readonly keys: RedisKeys
}

/** Read models in Redis. Several owners at once are safe: each batch is one step of the server, or parts of which the last moves the checkpoint. */
export interface RedisStore<C extends RedisClient = RedisClient> extends Store {
  /** The client itself, open. Rows are in the hash `<prefix>{<owner>:<name>:<version>}:rows`, each as `<position>:<version>:<JSON>`. */
  readonly native: () => Promise<C>
  /** What a reader of a version hands out. */
  nativeOf(model: StoredModel): Promise<RedisNative<C>>
  /** Closes the client if the store opened it. */
  close(): Promise<void>
}

const format = '1'

/**
 * Read models in Redis, through the package `redis`, which has to be installed. Takes an address, and then connects when it is first used; or a
 * client, which stays the caller's to close. The server must not evict keys (`maxmemory-policy noeviction`); one that may is refused.
 *
 * @example
 * const store = redis('redis://localhost:6379')
 */
export function redis(url: string, options?: RedisOptions): RedisStore<RedisClientType>
export function redis<C extends RedisClient>(client: C, options?: RedisOptions): RedisStore<C>
export function redis(
  urlOrClient: string | RedisClient,
  { prefix = 'headwater:', answerTimeoutMs = 10_000 }: RedisOptions = {},
): RedisStore {
  if (/[{}]/.test(prefix)) throw new UsageError('redis(): "prefix" must not hold braces, which decide where a cluster keeps a key')
  const isOurs = typeof urlOrClient === 'string'
  const description = isOurs ? describe(urlOrClient) : 'redis'
  const open = async (): Promise<RedisClient> => (isOurs ? openClient(urlOrClient, answerTimeoutMs) : urlOrClient)
  return new ScriptedStore(new RedisConnection(open, { isOurs, description, answerTimeoutMs }), description, prefix)
}

type Texts = readonly (string | null)[]

/** What the whole of a version looks like to a reader. */
type Whole = Pick<Seen<never>, 'checkpoint' | 'parked'>

class ScriptedStore implements RedisStore {
  readonly description: string
  readonly native: () => Promise<RedisClient>
  readonly #connection: RedisConnection<RedisClient>
  readonly #prefix: string
  /** The states last seen and what they say: between two batches every read sees the same. */
  readonly #states = new Map<string, Whole>()
  readonly #keys = new WeakMap<StoredModel, RedisKeys>()

  constructor(connection: RedisConnection<RedisClient>, description: string, prefix: string) {
    this.#connection = connection
    this.description = description
    this.#prefix = prefix
    this.native = () => connection.client()
  }

  /** One plain command, which a server answers faster than a script; only where keys are parked a script asks for the reasons too. */
  async load(model: StoredModel, keys: readonly string[]): Promise<Seen<StoredRow>> {
    const { rows, parked } = this.#keysOf(model)
    const [state = null, ...texts] = await this.#connection.fields(rows, [stateField, ...keys])
    const whole = this.#wholeOf(state)
    if (whole.parked === 0) return { ...whole, rows: storedRows(keys, texts, []) }
    const answer = (await this.#connection.run(loadScript, [rows, parked], [...keys])) as readonly [string | null, Texts, Texts]
    return { ...this.#wholeOf(answer[0]), rows: storedRows(keys, answer[1], answer[2]) }
  }

  async range(model: StoredModel, { index, from, to, reverse, limit }: RangeRequest): Promise<Seen<RangeRow>> {
    const { rows, keys: byKey, indexes } = this.#keysOf(model)
    const set = index === undefined ? byKey : indexes[index]
    if (set === undefined) throw new UsageError(`${model.name}: there is no index ${index}`)
    const values = [from, to, reverse ? '1' : '0', String(limit), index === undefined ? '1' : '0']
    const answer = await this.#connection.run(rangeScript, [rows, set], values)
    const [state, members, keys, texts] = answer as readonly [string | null, readonly string[], readonly string[], Texts]
    const found = keys.map((key, i) => {
      const { row = '', position = 0 } = storedRow(key, texts[i] ?? null, null) ?? {}
      return { key, row, position, at: textOf(members[i] ?? '', index) }
    })
    return { ...this.#wholeOf(state), rows: found }
  }

  async apply(model: StoredModel, given: Batch): Promise<'applied' | 'parked' | 'lost'> {
    if (given.from && given.to.position < given.from.position) throw new UsageError(`${model.name}: a checkpoint never goes back`)
    const batch = await this.#held(given)
    const keys = this.#keysOf(model)
    const parts = partsOf(batch.rows)
    const [begin = [], ...middle] = parts.slice(0, -1)
    let incarnation = ''
    if (parts.length > 1) {
      // Only the parts' repetition is harmless, not their mixture with what another batch wrote after a flush: all must meet the same incarnation.
      incarnation = await this.#write(keys, batch, begin, { incarnation, isLast: false })
      if (incarnation === '') return 'lost'
      const outcomes = await Promise.all(middle.map((part) => this.#write(keys, batch, part, { incarnation, isLast: false })))
      if (outcomes.includes('')) return 'lost'
    }
    return (await this.#write(keys, batch, parts.at(-1) ?? [], { incarnation, isLast: true })) === ''
      ? 'lost'
      : batch === given
        ? 'applied'
        : 'parked'
  }

  async nativeOf(model: StoredModel): Promise<RedisNative> {
    return { client: await this.#connection.client(), keys: this.#keysOf(model) }
  }

  async drop(model: StoredModel): Promise<void> {
    await this.#connection.run(dropScript, everyKey(this.#keysOf(model)), [], 'commit')
  }

  async checkpoints(model: StoredModel) {
    const [state = null] = await this.#connection.fields(this.#keysOf(model).rows, [stateField])
    const runs = parseState(state)?.runs ?? []
    return runs.map(({ first, last, value }) => ({ partitions: { first, last }, checkpoint: value }))
  }

  async size(model: StoredModel) {
    const [fields, bytes] = (await this.#connection.run(sizeScript, everyKey(this.#keysOf(model)), [])) as readonly [number, number]
    return { rows: Math.max(0, fields - ownFields), bytes }
  }

  async parked(model: StoredModel) {
    const found = (await this.#connection.run(parkedScript, [this.#keysOf(model).parked], [])) as readonly string[]
    return found.flatMap((key, i) => (i % 2 === 0 ? [{ key, ...(JSON.parse(found[i + 1] ?? '{}') as Parked) }] : []))
  }

  async close(): Promise<void> {
    await this.#connection.close()
  }

  /** A row that is more than the server takes as one value would break the connection, again and again: its key is parked instead. */
  async #held(batch: Batch): Promise<Batch> {
    await this.#connection.client()
    const max = this.#connection.valueBytesMax - overhead
    const isRefused = ({ row }: RowChange) => row !== null && row.length > max / 3 && Buffer.byteLength(row) > max
    const refused = batch.rows.filter(isRefused).map((change) => {
      const bytes = Buffer.byteLength(change.row ?? '')
      return refusedRow(batch, change, `the row cannot be a value in Redis: it takes ${bytes} bytes of the ${max} that there are`)
    })
    if (refused.length === 0) return batch
    const parked = batch.park.filter(({ key }) => !refused.some((each) => each.key === key))
    return { ...batch, rows: batch.rows.filter((change) => !isRefused(change)), park: [...parked, ...refused] }
  }

  /** Answers the incarnation that was written to; empty: the batch is lost. */
  async #write(
    keys: RedisKeys,
    { partitions, from, to, park, unpark }: Batch,
    changes: readonly RowChange[],
    { incarnation, isLast }: { readonly incarnation: string; readonly isLast: boolean },
  ): Promise<string> {
    const parks = isLast ? park : []
    const backs = isLast ? unpark : []
    const values = [
      ...[format, incarnation, randomUUID(), String(partitions.first), String(partitions.last)],
      ...[checkpointText(from), checkpointText(to), String(to.position), isLast ? '1' : '0'],
      ...[changes.length, parks.length, backs.length].map(String),
    ]
    const gone = (key: string, position: number) => `${position}::${isLast ? '' : partitionOf(key)}`
    for (const { key, was, position, version, row, index } of changes) {
      values.push(key, was === undefined ? '*' : String(was), row === null ? gone(key, position) : rowText(position, version, row))
      if (keys.indexes.length > 0) values.push(row === null ? '' : index.map((text) => `${text}\0`).join(''))
    }
    for (const { key, position, eventId, reason } of parks) values.push(key, JSON.stringify({ position, eventId, reason }))
    for (const key of backs) values.push(key)
    const outcome = (await this.#connection.run(applyScript, everyKey(keys), values, 'commit')) as readonly string[]
    return outcome[1] ?? ''
  }

  #keysOf(model: StoredModel): RedisKeys {
    const known = this.#keys.get(model)
    if (known) return known
    const keys = keysOf(this.#prefix, model)
    this.#keys.set(model, keys)
    return keys
  }

  #wholeOf(text: string | null): Whole {
    if (text === null) return nothing
    const known = this.#states.get(text)
    if (known) return known
    const state = parseState(text)
    if (!state) return nothing
    if (state.format !== format) throw newerFormat(this.description, state.format)
    const whole = { checkpoint: lowestOf(state.runs), parked: state.parked }
    if (this.#states.size >= statesMax) this.#states.clear()
    this.#states.set(text, whole)
    return whole
  }
}

const nothing: Whole = { checkpoint: null, parked: 0 }
const statesMax = 100
/** What a value holds beside the row. */
const overhead = 1024

function storedRows(keys: readonly string[], texts: Texts, reasons: Texts): readonly StoredRow[] {
  const rows: StoredRow[] = []
  for (let i = 0; i < keys.length; i++) {
    const row = storedRow(keys[i] ?? '', texts[i] ?? null, reasons[i])
    if (row) rows.push(row)
  }
  return rows
}

/** In the order that the scripts expect. */
function everyKey({ rows, texts, keys, parked, deleted, indexes }: RedisKeys): string[] {
  return [rows, texts, keys, parked, deleted, ...indexes]
}

/** The text of a member of an index, which its key follows after a zero byte. */
function textOf(member: string, index: number | undefined): string {
  return index === undefined ? member : member.slice(0, member.indexOf('\0'))
}

/** The address without what is secret in it. */
function describe(url: string): string {
  try {
    const { protocol, host, pathname } = new URL(url)
    return `${protocol}//${host}${pathname}`
  } catch {
    return 'a Redis server'
  }
}
