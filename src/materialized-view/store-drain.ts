import { randomUUID } from 'node:crypto'
import { quote } from '../database/identifier.ts'
import { DatabaseError } from '../errors.ts'
import { Repeats } from '../internal/repeats.ts'
import { pauseBefore } from '../internal/retry.ts'
import { afterKeys } from '../read-model/key-text.ts'
import { type Parked, partitionCount, type RowChange, type Store } from '../read-model/store.ts'
import { lastingTries, schemaChanged } from './drain.ts'
import { stopVersion, type ViewRuntime } from './registry.ts'
import { type FailedKey, type Selected, type SelectedRow, selectRows } from './store-rows.ts'
import { agree, noteParked } from './store-state.ts'
import { canonicalKey } from './stored-key.ts'
import { batchId, type StoredView } from './stored-view.ts'

interface Claim {
  readonly claimed: number
  /** Another process is at it. */
  readonly busy: boolean
  readonly reached: number
  readonly batchId: string | null
  readonly seed: string
  readonly filling: boolean
  readonly number: number | null
  readonly keys: readonly string[]
  readonly marks: string | null
  readonly origins: string | null
  readonly everything: number | null
  readonly filled: boolean
  readonly horizon: string | null
}

/** What came of one round. */
type Round = 'again' | 'empty'

/** A batch on its way to the store. */
interface Writing {
  readonly claim: Claim
  readonly number: number
  readonly changes: readonly RowChange[]
  readonly failed: readonly FailedKey[]
  readonly readAt: number
}

/** What a store answered with. */
class StoreFault extends Error {}

const whole = { first: 0, last: partitionCount - 1 }
const fullLookMs = 1000
const lookMs = 1000
const failingMs = 10_000
const pageRows = 1000
/** So many keys that all fail are no longer the keys' own fault. */
const allFail = 20

/**
 * Takes in the marks of a version whose rows are in another store, batch by batch: claims marks, takes a number, selects their keys, writes the rows
 * under that number, and only then lets the marks go. Whoever dies in between leaves marks that are taken in again. A row is never replaced by one
 * with a lower number, and numbers are taken after the claim and before the rows are read, so that a late batch cannot bring old rows back.
 */
export class StoreDrain {
  readonly #runtime: ViewRuntime
  readonly #view: StoredView
  readonly #onBatch: () => void
  readonly #who: string
  #running: Promise<void> | undefined
  #agreedAt = Number.NEGATIVE_INFINITY
  #since: string | null = null
  #fullLookAt = Number.NEGATIVE_INFINITY
  #round = 0
  #failures = 0
  readonly #repeats = new Repeats()
  #lasting = 0
  #faultAt = Number.NEGATIVE_INFINITY
  /** The store answers, though a trouble is noted. */
  #mended = false

  constructor(runtime: ViewRuntime, view: StoredView, who: string, onBatch: () => void) {
    this.#runtime = runtime
    this.#view = { ...view, store: faultingStore(view.store) }
    this.#who = who
    this.#onBatch = onBatch
  }

  /** Whether the store should be looked at, marks or not: it may have been emptied. */
  get isDue(): boolean {
    return this.#runtime.clock.now() - this.#agreedAt >= lookMs
  }

  get isRunning(): boolean {
    return this.#running !== undefined
  }

  /** Whether its store failed lately: another process may do better. */
  get isFailing(): boolean {
    return this.#runtime.clock.now() - this.#faultAt < failingMs
  }

  /**
   * Begins, unless it is under way already; resolves when no mark was left, or another process is at it. `mine`: whether to go on after each batch.
   */
  run(signal: AbortSignal, mine: () => boolean): Promise<void> {
    this.#running ??= this.#untilEmpty(signal, mine).finally(() => {
      this.#running = undefined
    })
    return this.#running
  }

  async #untilEmpty(signal: AbortSignal, mine: () => boolean): Promise<void> {
    while (!signal.aborted && mine()) {
      try {
        if ((await this.#next()) === 'empty') return
        this.#lasting = 0
        this.#onBatch()
      } catch (error) {
        this.#agreedAt = Number.NEGATIVE_INFINITY
        if (!(await this.#survive(error, signal))) return
      }
    }
  }

  async #next(): Promise<Round> {
    const { clock } = this.#runtime
    if (this.isDue) {
      const at = clock.now()
      const agreement = await agree(this.#runtime, this.#view, this.#who)
      if (agreement === 'busy' || agreement === 'stopped') return 'empty'
      this.#mended = agreement === 'mended'
      this.#agreedAt = at
      this.#failures = 0
    }
    const readAt = clock.now()
    const claim = await this.#claim()
    if (claim.busy) return 'empty'
    if (claim.claimed === 0 && !claim.filled) {
      await this.#forgetTrouble()
      this.#sayOver()
      return 'empty'
    }
    if (claim.number === null) return 'again'
    if (claim.everything !== null) {
      await this.#everything(claim, claim.everything)
      return 'again'
    }
    // A store makes room for a version when it is first written, and indexes need that: a version without rows is written twice.
    if (claim.filled && claim.batchId !== null) await this.#view.store.index?.(this.#view.model)
    const selected = await selectRows(this.#runtime, this.#view, claim.keys)
    refuseAll(selected)
    const changes = selected.rows.map((row) => changeOf(row, claim.number ?? 0))
    const failed = selected.failed.map((one) => ({ ...one, key: canonicalKey(this.#view.version, one.key) }))
    const written = await this.#write({ claim, number: claim.number, changes, failed, readAt })
    if (!written) this.#agreedAt = Number.NEGATIVE_INFINITY
    else {
      this.#failures = 0
      this.#sayOver()
    }
    return 'again'
  }

  async #claim(): Promise<Claim> {
    const { database, schema, clock } = this.#runtime
    const full = clock.now() - this.#fullLookAt >= fullLookMs
    const bulkFirst = this.#round++ % 4 === 3
    const { rows } = await database.query<Claim>(
      `select claimed, busy, reached, batch_id as "batchId", seed, filling, number, keys, marks, origins, everything, filled, horizon::text
       from ${quote(schema)}.store_claim($1, $2::uuid, $3, $4::xid8)`,
      [this.#view.version.id, this.#who, bulkFirst, full ? null : this.#since],
      { prepare: true },
    )
    const [claim] = rows
    if (!claim) throw new Error('store_claim() gave no row')
    if (full && !claim.busy && claim.claimed === 0) {
      this.#since = claim.horizon
      this.#fullLookAt = clock.now()
    }
    return claim
  }

  /** False: another process wrote a batch meanwhile. */
  async #write({ claim, number, changes, failed, readAt }: Writing): Promise<boolean> {
    const { version, store, model } = this.#view
    const { reached, batchId: last, seed } = claim
    const filled = claim.filled && last !== null
    const id = batchId(seed, filled || !claim.filling, randomUUID())
    if (!(await this.#call('store_intend($1, $2::uuid, $3, $4, $5)', [version.id, this.#who, reached, last, id]))) return false
    const park = failed.map(({ key, reason }): Parked & { readonly key: string } => ({ key, position: number, eventId: null, reason }))
    const unpark = await this.#parkedOf(changes.map(({ key }) => key))
    const from = last === null ? null : { position: reached, eventId: last }
    const batch = { partitions: whole, from, to: { position: number, eventId: id }, rows: changes, park, unpark, readAt }
    const outcome = await store.apply(model, batch)
    if (outcome === 'lost') return false
    if (failed.length > 0) this.#runtime.log('error', `${version.name}: parked ${failed.length} of ${changes.length + failed.length} keys`)
    const done = await this.#call(
      'store_written($1, $2, $3, $4, $5, $6, $7::tid[], $8::xid8[], $9::text[], $10::text[], $11::text[], $12::text[])',
      [
        ...[version.id, reached, last, number, id, filled, claim.marks, claim.origins],
        failed.map(({ key }) => key),
        failed.map(({ reason }) => reason),
        failed.map(({ sqlState }) => sqlState),
        unpark,
      ],
    )
    if (done && outcome === 'parked') await noteParked(this.#runtime, this.#view)
    return done
  }

  async #parkedOf(keys: readonly string[]): Promise<readonly string[]> {
    const { database, schema } = this.#runtime
    const { rows } = await database.query<{ key: string }>(
      `select key from ${quote(schema)}.parked where view = $1 and key = any ($2::text[])`,
      [this.#view.version.id, keys],
      { prepare: true },
    )
    return rows.map(({ key }) => key)
  }

  /** Keys that only the store has are to go; then all keys of the SELECT. */
  async #everything({ batchId: last, marks, origins }: Claim, lane: number): Promise<void> {
    const { database, schema } = this.#runtime
    const { version, store, model } = this.#view
    for (let from: string | undefined = last === null ? undefined : ''; from !== undefined; ) {
      const start: string = from
      const { rows } = await store.range(model, { index: undefined, from: start, to: afterKeys, reverse: false, limit: pageRows })
      const keys = rows.map(({ key }) => key)
      const selected = keys.length === 0 ? [] : (await selectRows(this.#runtime, this.#view, keys)).rows
      const surplus = selected.flatMap(({ key, row }) => (row ? [] : [key]))
      if (surplus.length > 0) {
        await database.query(
          `insert into ${quote(schema)}.mark (view, lane, xid, map, keys) select $1, $2, ($3::xid8[])[1], 0, $4::text[]`,
          [version.id, lane, origins, surplus],
        )
      }
      from = rows.length === pageRows ? `${keys.at(-1)}\u0001` : undefined
    }
    await database.query(`select ${quote(schema)}.store_everything($1, $2::tid[], $3::xid8[], $4)`, [version.id, marks, origins, lane])
  }

  async #call(call: string, values: readonly unknown[]): Promise<boolean> {
    const { database, schema } = this.#runtime
    const { rows } = await database.query<{ done: boolean }>(`select ${quote(schema)}.${call} as done`, values, { prepare: true })
    return rows[0]?.done === true
  }

  /** Whether to go on after an error. A changed schema and keys that all fail need a person; everything else is tried again, later and later. */
  async #survive(error: unknown, signal: AbortSignal): Promise<boolean> {
    const { log, clock } = this.#runtime
    const { version } = this.#view
    const reason = error instanceof Error ? error.message : String(error)
    const lasting = error instanceof DatabaseError && schemaChanged.has(error.sqlState)
    this.#lasting = lasting ? this.#lasting + 1 : 0
    if (this.#lasting >= lastingTries) {
      await stopVersion(this.#runtime, version.id, version.name, reason).catch((cause: unknown) =>
        log('error', `${version.name}: ${String(cause)}`),
      )
      return false
    }
    if (error instanceof StoreFault) this.#faultAt = this.#runtime.clock.now()
    await this.#release(error instanceof StoreFault ? reason : null).catch(() => undefined)
    if (signal.aborted) return false
    const transient = lasting || (error instanceof DatabaseError && error.sqlState.startsWith('40'))
    const pause = pauseBefore(++this.#failures, { baseMs: transient ? 10 : 200, maxMs: 5000 })
    if (!transient) log(this.#repeats.failed(clock.now()), `${version.name}: ${reason}`, { tryAgainMs: pause })
    await clock.sleep(pause, signal)
    return true
  }

  #sayOver(): void {
    const { log, clock } = this.#runtime
    const afterMs = this.#repeats.over(clock.now())
    if (afterMs !== undefined) log('info', `${this.#view.version.name}: gets on again`, { afterMs })
  }

  /** A store that answers again, for a view that has nothing to write: what is written says the same by itself. */
  async #forgetTrouble(): Promise<void> {
    if (!this.#mended) return
    const { database, schema } = this.#runtime
    await database.query(`update ${quote(schema)}.view_store set trouble = null where view = $1`, [this.#view.version.id])
    this.#mended = false
  }

  /** Lets another process try, and says for everybody why it does not get on. */
  async #release(trouble: string | null): Promise<void> {
    const { database, schema } = this.#runtime
    await database.query(
      `update ${quote(schema)}.view_store set owner = nullif(owner, $2::uuid), trouble = coalesce($3, trouble) where view = $1`,
      [this.#view.version.id, this.#who, trouble],
    )
  }
}

function changeOf({ key, row }: SelectedRow, position: number): RowChange {
  return { key, was: undefined, position, version: null, row: row?.json ?? null, index: row?.index ?? [] }
}

/** Errors of a store look like those of the write database, and mean something else. */
function faultingStore(store: Store): Store {
  const told = async <T>(work: Promise<T>): Promise<T> => {
    try {
      return await work
    } catch (error) {
      throw new StoreFault(error instanceof Error ? error.message : String(error), { cause: error })
    }
  }
  return {
    description: store.description,
    load: (model, keys) => told(store.load(model, keys)),
    range: (model, request) => told(store.range(model, request)),
    apply: (model, batch) => told(store.apply(model, batch)),
    drop: (model) => told(store.drop(model)),
    index: (model) => told(store.index?.(model) ?? Promise.resolve()),
    parked: (model) => told(store.parked?.(model) ?? Promise.resolve([])),
  }
}

function refuseAll({ rows, failed }: Selected): void {
  const [first] = failed
  if (!first || failed.length < allFail || rows.length > 0) return
  throw new DatabaseError('HW001', `every one of ${failed.length} keys failed: ${first.reason}`)
}
