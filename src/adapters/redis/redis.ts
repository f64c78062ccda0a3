import type { RedisClientType } from 'redis'
import {
  type Batch,
  type Parked,
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
import { BatchWriter } from './batch-writer.ts'
import { openClient, type RedisClient, RedisConnection } from './connection.ts'
import { newerFormat, notOurs } from './failure.ts'
import { everyKey, incarnationField, keysOf, type RedisKeys, stateField } from './keys.ts'
import { dropScript, foreignScript, loadScript, rangeScript, scanScript, sizeScript } from './scripts.ts'
import { lowestOf, parseState, type State, stateFormat, storedRow } from './text.ts'

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

/**
 * Read models in Redis, through the package `redis`, which has to be installed. Takes an address, and then connects when it is first used; or a
 * client, which stays the caller's to close. The server must not evict keys (`maxmemory-policy noeviction`; `volatile-*` does
 * not touch ours); one that may is refused.
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
interface Whole extends Pick<Seen<never>, 'checkpoint' | 'parked'> {
  readonly runs: State['runs']
}

/** What one step of the server answered. */
interface Piece<T> {
  readonly whole: Whole
  readonly incarnation: string | null
  readonly rows: readonly T[]
}

class ScriptedStore implements RedisStore {
  readonly description: string
  readonly native: () => Promise<RedisClient>
  readonly #connection: RedisConnection<RedisClient>
  readonly #prefix: string
  /** The states last seen and what they say: between two batches every read sees the same. */
  readonly #states = new Map<string, Whole>()
  readonly #keys = new WeakMap<StoredModel, RedisKeys>()
  readonly #writer: BatchWriter

  constructor(connection: RedisConnection<RedisClient>, description: string, prefix: string) {
    this.#connection = connection
    this.description = description
    this.#prefix = prefix
    this.#writer = new BatchWriter(connection)
    this.native = () => connection.client()
  }

  async load(model: StoredModel, keys: readonly string[]): Promise<Seen<StoredRow>> {
    const places = this.#keysOf(model)
    if (keys.length <= readMax) {
      const { whole, rows } = await this.#load(places, keys, [])
      return { checkpoint: whole.checkpoint, rows, parked: whole.parked }
    }
    const starts = Array.from({ length: Math.ceil(keys.length / readMax) }, (_, i) => i * readMax)
    for (;;) {
      const pieces = await Promise.all(starts.map((start) => this.#load(places, keys.slice(start, start + readMax), [incarnationField])))
      if (areOne(pieces)) return joined(pieces)
    }
  }

  async range(model: StoredModel, request: RangeRequest): Promise<Seen<RangeRow>> {
    const { index } = request
    const { rows, keys, indexes } = this.#keysOf(model)
    const set = index === undefined ? keys : indexes[index]
    if (set === undefined) throw new UsageError(`${model.name}: there is no index ${index}`)
    for (;;) {
      const pieces = await this.#range([rows, set], request)
      if (areOne(pieces)) return joined(pieces)
    }
  }

  async apply(model: StoredModel, given: Batch): Promise<'applied' | 'parked' | 'lost'> {
    if (given.from && given.to.position < given.from.position) throw new UsageError(`${model.name}: a checkpoint never goes back`)
    const batch = await this.#held(given)
    const outcome = await this.#writer.apply(this.#keysOf(model), batch)
    return outcome === 'applied' && batch !== given ? 'parked' : outcome
  }

  async nativeOf(model: StoredModel): Promise<RedisNative> {
    return { client: await this.#connection.client(), keys: this.#keysOf(model) }
  }

  async drop(model: StoredModel): Promise<void> {
    await this.#connection.run(dropScript, everyKey(this.#keysOf(model)), [], 'commit')
  }

  async checkpoints(model: StoredModel) {
    const { whole } = await this.#load(this.#keysOf(model), [], [])
    return whole.runs.map(({ first, last, value }) => ({ partitions: { first, last }, checkpoint: value }))
  }

  async size(model: StoredModel) {
    const [rows, bytes] = (await this.#connection.run(sizeScript, everyKey(this.#keysOf(model)), [])) as readonly [number, number]
    return { rows, bytes }
  }

  /** Piece by piece: what is parked or taken back meanwhile may be in it or not. */
  async parked(model: StoredModel) {
    const { parked } = this.#keysOf(model)
    const reasons = new Map<string, Parked>()
    let cursor = '0'
    do {
      const [next, found] = (await this.#connection.run(scanScript, [parked], [cursor])) as readonly [string, readonly string[]]
      for (let i = 0; i < found.length; i += 2) reasons.set(found[i] ?? '', JSON.parse(found[i + 1] ?? '{}') as Parked)
      cursor = next
    } while (cursor !== '0')
    return [...reasons].map(([key, reason]) => ({ key, ...reason }))
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

  /** One plain command, which a server answers faster than a script; only where keys are parked a script asks for the reasons too. `more`: the incarnation, if it is wanted. */
  async #load({ rows, parked }: RedisKeys, keys: readonly string[], more: readonly string[]): Promise<Piece<StoredRow>> {
    const [state = null, ...found] = await this.#connection.fields(rows, [stateField, ...keys, ...more])
    const whole = this.#wholeOf(rows, state)
    // Nobody's, or somebody else's?
    if (state === null) await this.#connection.run(foreignScript, [rows], [])
    if (whole.parked === 0) return { whole, incarnation: found[keys.length] ?? null, rows: storedRows(keys, found, whole) }
    const answer = (await this.#connection.run(loadScript, [rows, parked], [...keys])) as readonly [
      string | null,
      string | null,
      Texts,
      Texts,
    ]
    const now = this.#wholeOf(rows, answer[0])
    return { whole: now, incarnation: answer[1], rows: storedRows(keys, answer[2], now, answer[3]) }
  }

  /** KEYS: rows, the set to read. */
  async #range(keys: string[], { index, from, to, reverse, limit }: RangeRequest): Promise<readonly Piece<RangeRow>[]> {
    const pieces: Piece<RangeRow>[] = []
    let [begin, end] = [`[${from}`, `(${to}`]
    for (let left = limit; ; left -= readMax) {
      const values = [begin, end, reverse ? '1' : '0', String(Math.min(left, readMax)), index === undefined ? '1' : '0']
      const answer = await this.#connection.run(rangeScript, keys, values)
      const [state, incarnation, members, names, texts] = answer as readonly [
        string | null,
        string | null,
        readonly string[],
        readonly string[],
        Texts,
      ]
      const whole = this.#wholeOf(keys[0] ?? '', state)
      const rows = names.map((key, i) => rangeRow(key, texts[i] ?? null, textOf(members[i] ?? '', index)))
      pieces.push({ whole, incarnation, rows })
      if (members.length < readMax || left <= readMax) return pieces
      if (reverse) end = `(${members.at(-1)}`
      else begin = `(${members.at(-1)}`
    }
  }

  #keysOf(model: StoredModel): RedisKeys {
    const known = this.#keys.get(model)
    if (known) return known
    const keys = keysOf(this.#prefix, model)
    this.#keys.set(model, keys)
    return keys
  }

  #wholeOf(rows: string, text: string | null): Whole {
    if (text === null) return nothing
    const known = this.#states.get(text)
    if (known) return known
    const state = parseState(text)
    if (!state) throw notOurs(this.description, `${rows} is a hash of something else`)
    if (state.format !== stateFormat) throw newerFormat(this.description, state.format)
    const whole = { checkpoint: lowestOf(state.runs), parked: state.parked, runs: state.runs }
    if (this.#states.size >= statesMax) this.#states.clear()
    this.#states.set(text, whole)
    return whole
  }
}

const nothing: Whole = { checkpoint: null, parked: 0, runs: [] }
const statesMax = 100
/** How many rows one step of the server reads; a page of `find` and one more are within it. */
const readMax = 1024
/** What a value holds beside the row. */
const overhead = 1024

/** Whether all that was read is of the same version: between two steps it may have been flushed, and built anew. */
function areOne(pieces: readonly Piece<unknown>[]): boolean {
  return pieces.every(({ incarnation }) => incarnation === pieces[0]?.incarnation)
}

/** Rows are at least as new as the checkpoint of their own piece, and so as the lowest. */
function joined<T>(pieces: readonly Piece<T>[]): Seen<T> {
  const { checkpoint, parked } = pieces.map(({ whole }) => whole).reduce((a, b) => (reachedBy(b) < reachedBy(a) ? b : a))
  return { checkpoint, parked, rows: pieces.length === 1 ? (pieces[0]?.rows ?? []) : pieces.flatMap(({ rows }) => rows) }
}

function reachedBy({ checkpoint }: Whole): number {
  return checkpoint?.position ?? -1
}

function storedRows(keys: readonly string[], texts: Texts, { runs }: Whole, reasons: Texts = []): readonly StoredRow[] {
  const rows: StoredRow[] = []
  for (let i = 0; i < keys.length; i++) {
    const row = storedRow(keys[i] ?? '', texts[i] ?? null, reasons[i], runs)
    if (row) rows.push(row)
  }
  return rows
}

function rangeRow(key: string, text: string | null, at: string): RangeRow {
  const { row = '', position = 0 } = storedRow(key, text, null, []) ?? {}
  return { key, row, position, at }
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
