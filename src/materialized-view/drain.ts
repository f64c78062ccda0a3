import { quote } from '../database/identifier.ts'
import { DatabaseError, DatabaseUnavailableError } from '../errors.ts'
import type { Clock } from '../internal/clock.ts'
import { pauseBefore } from '../internal/retry.ts'
import { stopVersion, type ViewRuntime, type ViewVersion } from './registry.ts'

interface Batch {
  readonly claimed: number
  readonly keys: number
  readonly written: number
  readonly deleted: number
  readonly parked: number
  /** Null when it did not look: the version is held by a switch. */
  readonly horizon: string | null
}

/** What waiting cannot mend: a column, table, function or type that is not what it was, a right that was taken, and what the server's functions say themselves. */
export const schemaChanged: ReadonlySet<string> = new Set(['42703', '42P01', '42883', '42804', '42704', '42846', '42501', 'HW001', 'HW002'])

/** How often in a row such an error must show: while somebody changes the schema, one may show that is over in a moment. */
export const lastingTries = 3

/** A full look at the marks at least this often; between, marks older than the last full look are passed over without reading them. */
const fullLookMs = 1000

/**
 * Takes in the marks of one version, batch by batch, until none is left. Any number of processes may do so for the same version: a mark is
 * claimed by one, and the locks on keys keep an older recompute from following a newer one.
 */
export class Drain {
  readonly #runtime: ViewRuntime
  readonly #version: ViewVersion
  readonly #onBatch: () => void
  #running: Promise<void> | undefined
  #since: string | null = null
  #fullLookAt = 0
  #round = 0
  #failures = 0
  #lasting = 0

  constructor(runtime: ViewRuntime, version: ViewVersion, onBatch: () => void) {
    this.#runtime = runtime
    this.#version = version
    this.#onBatch = onBatch
  }

  /** Begins, unless it is under way already; resolves when no mark was left. */
  run(signal: AbortSignal): Promise<void> {
    this.#running ??= this.#untilEmpty(signal).finally(() => {
      this.#running = undefined
    })
    return this.#running
  }

  async #untilEmpty(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      try {
        const batch = await this.#batch(this.#runtime.clock)
        this.#failures = 0
        this.#lasting = 0
        if (batch.claimed === 0) return
        this.#onBatch()
      } catch (error) {
        if (!(await this.#survive(error, signal))) return
      }
    }
  }

  async #batch(clock: Clock): Promise<Batch> {
    const full = clock.now() - this.#fullLookAt >= fullLookMs
    // One batch in four begins with bulk, so that a steady stream of single keys cannot hold up a fan-out for ever.
    const bulkFirst = this.#round++ % 4 === 3
    const { rows } = await this.#runtime.database.query<Batch>(
      `select claimed, keys, written, deleted, parked, horizon::text from ${quote(this.#runtime.schema)}.drain($1, $2, $3::xid8)`,
      [this.#version.id, bulkFirst, full ? null : this.#since],
      { prepare: true },
    )
    const batch = rows[0] ?? { claimed: 0, keys: 0, written: 0, deleted: 0, parked: 0, horizon: null }
    if (full && batch.claimed === 0) {
      this.#since = batch.horizon
      this.#fullLookAt = clock.now()
    }
    if (batch.parked > 0) this.#runtime.log('error', `${this.#version.name}: parked ${batch.parked} of ${batch.keys} keys`)
    return batch
  }

  /** Whether to go on after an error. A changed schema and keys that all fail need a person; everything else is tried again, later and later. */
  async #survive(error: unknown, signal: AbortSignal): Promise<boolean> {
    const { log, clock } = this.#runtime
    const lasting = error instanceof DatabaseError && schemaChanged.has(error.sqlState)
    this.#lasting = lasting ? this.#lasting + 1 : 0
    if (this.#lasting >= lastingTries) {
      await stopVersion(this.#runtime, this.#version.id, this.#version.name, String((error as Error).message)).catch((cause: unknown) =>
        log('error', `${this.#version.name}: ${String(cause)}`),
      )
      return false
    }
    if (signal.aborted) return false
    const transient = lasting || (error instanceof DatabaseError && error.sqlState.startsWith('40'))
    const pause = pauseBefore(++this.#failures, { baseMs: transient ? 10 : 200, maxMs: 10_000 })
    if (!transient) log('warn', `${this.#version.name}: ${error instanceof Error ? error.message : String(error)}`, { tryAgainMs: pause })
    if (error instanceof DatabaseUnavailableError || transient) await clock.sleep(pause, signal)
    else if (this.#failures > 3) return false
    else await clock.sleep(pause, signal)
    return true
  }
}
