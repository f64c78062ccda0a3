import { leaseSeconds } from '../database/lease-seconds.ts'
import { type OwnedRange, prolongRanges, readFolders, readRanges, takeRange } from './lease.ts'
import type { OwnProjection } from './own-projection.ts'
import type { RangeRunner } from './range-runner.ts'
import type { ProjectionRuntime } from './registry.ts'
import { rangeId, share } from './share.ts'

/** A runner that was told to end and has a batch under way, maybe in a store that does not answer. */
interface Ending {
  readonly range: OwnedRange
  readonly since: number
  readonly ended: Promise<void>
}

export interface HoldingsOptions {
  /** Of this process, as owner. */
  readonly id: string
  /** Begins to fold a range whose lease was taken. */
  readonly begin: (range: OwnedRange, own: OwnProjection) => RangeRunner
}

/**
 * The ranges that this process works on. Nothing here waits for a store: a runner that was told to end is left to itself, and its range is not begun
 * again in this process before it has ended.
 */
export class Holdings {
  readonly #runtime: ProjectionRuntime
  readonly #options: HoldingsOptions
  readonly #running = new Map<string, RangeRunner>()
  readonly #ending = new Set<Ending>()
  #sharing: Promise<void> | undefined

  constructor(runtime: ProjectionRuntime, options: HoldingsOptions) {
    this.#runtime = runtime
    this.#options = options
  }

  get running(): readonly RangeRunner[] {
    return [...this.#running.values()]
  }

  of(projection: number): readonly RangeRunner[] {
    return this.running.filter(({ range }) => range.projection === projection)
  }

  /** Versions of which a runner has not ended for longer than a lease lasts: this process cannot take more of them. */
  get stuck(): ReadonlySet<number> {
    const before = this.#runtime.clock.now() - leaseSeconds * 1000
    return new Set([...this.#ending].filter(({ since }) => since < before).map(({ range }) => range.projection))
  }

  /** Keeps what it has for longer; ends what it lost. */
  async prolong(): Promise<void> {
    const running = [...this.#running]
    const kept = await this.#tell(running.map(([, runner]) => runner))
    for (const [id, runner] of running) {
      if (kept.has(runner) || (await runner.hold())) continue
      // Another process may have it by now, or the ranges were drawn anew.
      this.#end(id, runner)
    }
  }

  /** Tells those who only look how far versions in other stores are. */
  async report(): Promise<void> {
    await this.#tell(this.running.filter(({ isUntold }) => isUntold))
  }

  /** Ends what may not run any more. */
  keep(runnable: ReadonlyMap<number, OwnProjection>): void {
    for (const [id, runner] of this.#running) if (runner.ended || !runnable.has(runner.range.projection)) this.#end(id, runner)
  }

  /** Takes what is free and its due, and gives back what is others'. `runs`: what this process could fold. */
  async share(runnable: ReadonlyMap<number, OwnProjection>, runs: ReadonlySet<number>): Promise<void> {
    this.#sharing = (this.#sharing ?? Promise.resolve()).catch(() => undefined).then(() => this.#share(runnable, runs))
    await this.#sharing
  }

  /** Tells all to end, and waits for that. */
  async end(): Promise<void> {
    await this.#sharing?.catch(() => undefined)
    for (const [id, runner] of this.#running) this.#end(id, runner)
    await Promise.all([...this.#ending].map(({ ended }) => ended))
  }

  async #tell(runners: readonly RangeRunner[]): Promise<ReadonlySet<RangeRunner>> {
    const { database, schema } = this.#runtime
    const asked = runners.map((runner) => ({ runner, kept: runner.kept }))
    const found = await prolongRanges(
      database,
      schema,
      asked.map(({ kept }) => kept),
      this.#options.id,
    )
    const ids = new Set(found.map(rangeId))
    const told = asked.filter(({ runner }) => ids.has(rangeId(runner.range)))
    for (const { runner, kept } of told) runner.told(kept)
    return new Set(told.map(({ runner }) => runner))
  }

  async #share(runnable: ReadonlyMap<number, OwnProjection>, runs: ReadonlySet<number>): Promise<void> {
    const { database, schema } = this.#runtime
    const { id } = this.#options
    const others = (await readFolders(database, schema)).filter((folder) => folder.id !== id)
    const ranges = await readRanges(database, schema)
    const shares = share(ranges, [...others, { id, runs }])
    for (const range of ranges) {
      const name = rangeId(range)
      const [own, owner, running] = [runnable.get(range.projection), shares.get(name), this.#running.get(name)]
      if (running) {
        if (owner !== undefined && owner !== id) this.#end(name, running)
      } else if (own && owner === id && (range.free || range.owner === id) && !this.#isEnding(range)) {
        if (await takeRange(database, schema, range, id)) this.#running.set(name, this.#options.begin(range, own))
      }
    }
  }

  #end(id: string, runner: RangeRunner): void {
    this.#running.delete(id)
    const ending: Ending = {
      range: runner.range,
      since: this.#runtime.clock.now(),
      ended: runner.end().finally(() => this.#ending.delete(ending)),
    }
    this.#ending.add(ending)
  }

  #isEnding({ projection, first, last }: OwnedRange): boolean {
    return [...this.#ending].some(({ range }) => range.projection === projection && range.first <= last && range.last >= first)
  }
}
