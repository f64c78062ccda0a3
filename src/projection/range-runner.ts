import { LogMismatchError } from '../errors.ts'
import { Repeats } from '../internal/repeats.ts'
import { pauseBefore } from '../internal/retry.ts'
import { beginAgain, beginBuild } from './build.ts'
import type { Feed } from './feed.ts'
import { messageOf } from './fold.ts'
import { giveRange, type KeptRange, type OwnedRange, takeRange } from './lease.ts'
import type { OwnProjection } from './own-projection.ts'
import { Projector } from './projector.ts'
import { LostError, StopError } from './projector-end.ts'
import type { ProjectionRuntime } from './registry.ts'

export interface RangeRunnerOptions {
  readonly runtime: ProjectionRuntime
  /** A lease of it is held. */
  readonly range: OwnedRange
  readonly own: OwnProjection
  /** Who holds the lease. */
  readonly owner: string
  readonly feed: Feed
  readonly pollIntervalMs: number
  readonly building: () => boolean
  readonly onProgress: (runner: RangeRunner) => void
  /** What trying again cannot mend. */
  readonly onStop: (error: Error) => Promise<void>
}

/** Folds one range until it is told to end, stops, or has lost it. Everything else that fails is tried again, later and later. Gives the range back. */
export class RangeRunner {
  readonly #options: RangeRunnerOptions
  readonly #abort = new AbortController()
  readonly #repeats = new Repeats()
  readonly #done: Promise<void>
  #told: number | undefined
  /** Whether a batch was lost since anything was written: maybe to what a first batch left that broke off. */
  #hasLost = false
  projector: Projector | undefined
  /** What keeps it from getting on, as last seen. */
  trouble: string | undefined
  /** Whether it came to its end by itself. */
  ended = false

  constructor(options: RangeRunnerOptions) {
    this.#options = options
    this.#done = this.#run()
  }

  get range(): OwnedRange {
    return this.#options.range
  }

  get own(): OwnProjection {
    return this.#options.own
  }

  /** What is to be kept; a version in another store tells how far it is. */
  get kept(): KeptRange {
    const { range, own } = this.#options
    return { ...range, report: own.version.store === null ? null : (this.projector?.stored ?? null) }
  }

  /** Whether its checkpoint moved since it was last told. */
  get isUntold(): boolean {
    return this.kept.report !== null && this.kept.report.position !== this.#told
  }

  /** Its checkpoint was told. */
  told({ report }: KeptRange): void {
    if (report) this.#told = report.position
  }

  /** Keeps the lease, if nobody else has it. */
  async hold(): Promise<boolean> {
    const { runtime, range, owner } = this.#options
    if (this.ended) return false
    const kept = await takeRange(runtime.database, runtime.schema, range, owner)
    // It may have come to its end meanwhile, and given back what was taken again just now.
    if (kept && this.ended) await giveRange(runtime.database, runtime.schema, range, owner)
    return kept && !this.ended
  }

  /** Ends after what is under way. */
  async end(): Promise<void> {
    this.#abort.abort()
    this.projector?.wake()
    await this.#done
  }

  async #run(): Promise<void> {
    const { runtime, range, owner, own } = this.#options
    const { signal } = this.#abort
    try {
      for (let failures = 0; !signal.aborted; ) {
        const before = this.projector?.position ?? -1
        try {
          if (this.#options.building()) await beginBuild(runtime, range.projection)
          this.projector = this.#projector()
          await this.projector.run(signal)
        } catch (error) {
          if (signal.aborted || (await this.#gaveUp(error))) break
          this.#hasLost ||= error instanceof LostError
          failures = this.projector && this.projector.position > before ? 1 : failures + 1
          await this.#pause(error, failures)
        }
      }
      await giveRange(runtime.database, runtime.schema, range, owner)
    } catch (error) {
      // Its lease runs out by itself.
      runtime.log('warn', `${own.version.name}: ${messageOf(error)}`)
    }
    this.ended = true
  }

  #projector(): Projector {
    const { runtime, own, range, feed, pollIntervalMs, building } = this.#options
    return new Projector({
      runtime,
      version: own.version,
      building,
      folding: own.folding,
      store: own.store,
      partitions: { first: range.first, last: range.last },
      feed,
      pollIntervalMs,
      skipped: own.skipped,
      mayHoldRows: this.#hasLost,
      onProgress: () => {
        this.trouble = undefined
        this.#hasLost = false
        const afterMs = this.#repeats.over(runtime.clock.now())
        if (afterMs !== undefined) runtime.log('info', `${own.version.name}: gets on again`, { afterMs })
        this.#options.onProgress(this)
      },
      onMissing: () => beginAgain(runtime, own.version),
    })
  }

  async #gaveUp(error: unknown): Promise<boolean> {
    const { runtime, range, owner } = this.#options
    const fatal = error instanceof StopError ? error.cause : error instanceof LogMismatchError ? error : undefined
    if (fatal) await this.#options.onStop(fatal)
    return fatal !== undefined || (error instanceof LostError && !(await takeRange(runtime.database, runtime.schema, range, owner)))
  }

  async #pause(error: unknown, failures: number): Promise<void> {
    const { runtime, own } = this.#options
    const lost = error instanceof LostError
    const pause = pauseBefore(failures, { baseMs: lost ? 20 : 200, maxMs: 10_000 })
    this.trouble = messageOf(error)
    runtime.log(lost ? 'debug' : this.#repeats.failed(runtime.clock.now()), `${own.version.name}: ${messageOf(error)}`, {
      tryAgainMs: pause,
    })
    await runtime.clock.sleep(pause, this.#abort.signal)
  }
}
