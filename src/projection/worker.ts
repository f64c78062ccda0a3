import { randomUUID } from 'node:crypto'
import { LogMismatchError, NotReadyError, UnknownEventError } from '../errors.ts'
import { Wake } from '../internal/wake.ts'
import { partitionCount, type Store, type StoredModel } from '../read-model/store.ts'
import { finishBuild } from './build.ts'
import { Feed } from './feed.ts'
import { messageOf } from './fold.ts'
import { Holdings } from './holdings.ts'
import { refreshSkipped } from './key-request.ts'
import { type OwnedRange, sayAlive, sayDefined, sayGone } from './lease.ts'
import { type OwnProjection, ownProjection } from './own-projection.ts'
import { Places } from './places.ts'
import type { Projection } from './projection-definition.ts'
import { RangeRunner } from './range-runner.ts'
import { registerOwn } from './register-own.ts'
import {
  isRunnable,
  type ProjectionRuntime,
  type ProjectionState,
  type ProjectionVersion,
  readProjections,
  restoreProjection,
  stopProjection,
  storedModel,
} from './registry.ts'
import { Retirement } from './retire.ts'
import { storeOf } from './store-of.ts'
import { SyncCompanion } from './sync-companion.ts'

export interface ProjectionWorkerOptions {
  /** What this process defines. */
  readonly projections: readonly Projection[]
  readonly pollIntervalMs: number
  readonly rollbackWindowMs: number
  /** Rung when a read model got further; default: one of its own. */
  readonly progress?: Wake
  /** False: this process folds nothing and only looks (queries, commands). Sync projections take part in its appends nevertheless. Default true. */
  readonly fold?: boolean
}

const tendMs = 1000
/** A process that could not look after its projections for so long is not counted among those that could take more. */
const troubledMs = 10_000
/** How long those who wait for projections that nobody folds hope for somebody. */
const lonelyMs = 30_000

/**
 * Keeps the projections of this process folded: registers their versions, takes its share of the ranges that nobody works on, folds them, finishes
 * builds, stops what needs a person, and drops what is over. Leases only decide who tries; see {@link Projector} for what makes it safe.
 */
export class ProjectionWorker {
  /** Rings when a read model got further, for those who wait for it. */
  readonly progress: Wake
  /** Keeps sync projections in step with appends: give it to the log. */
  readonly companion: SyncCompanion
  /** Who owns what this process works on. */
  readonly id = randomUUID()
  readonly #runtime: ProjectionRuntime
  readonly #options: ProjectionWorkerOptions
  readonly #feed: Feed
  readonly #stop = new AbortController()
  readonly #work = new Wake()
  readonly #holdings: Holdings
  readonly #retirement: Retirement
  readonly #ids = new Map<number, Projection>()
  readonly #skipped = new Map<number, Set<string>>()
  /** Versions that stopped in this process, for an event that its code does not know. Another may know it; this one does not take them again. */
  readonly #refused = new Set<number>()
  readonly #finishing = new Map<number, Promise<void>>()
  #versions: readonly ProjectionVersion[] = []
  #own: readonly OwnProjection[] = []
  readonly #places: Places
  #tendedAt = Number.NEGATIVE_INFINITY
  #wellAt = Number.NEGATIVE_INFINITY
  #tending: Promise<void> | undefined
  #loops: readonly Promise<void>[] = []

  constructor(runtime: ProjectionRuntime, options: ProjectionWorkerOptions) {
    this.#runtime = runtime
    this.#options = options
    this.progress = options.progress ?? new Wake()
    this.companion = new SyncCompanion(runtime, { onLeft: () => this.#wakeSync() })
    this.#places = new Places(runtime, options.pollIntervalMs)
    this.#holdings = new Holdings(runtime, { id: this.id, begin: (range, own) => this.#runner(range, own) })
    this.#retirement = new Retirement(runtime, options.projections, options.rollbackWindowMs)
    this.#feed = new Feed({
      eventLog: runtime.eventLog,
      clock: runtime.clock,
      pollIntervalMs: options.pollIntervalMs,
      onError: (error, pause) => runtime.log('warn', `cannot read the log: ${messageOf(error)}`, { tryAgainMs: pause }),
    })
  }

  /** Every version in the database as last seen, of this process's projections and others. */
  get versions(): readonly ProjectionVersion[] {
    return this.#versions
  }

  /** The projections of this process whose version is in the database. */
  get own(): readonly OwnProjection[] {
    return this.#own
  }

  /** The head of the log as last seen. */
  get head(): number {
    return this.#places.head
  }

  /** Up to where a version is, the lowest of its ranges, as last seen. */
  position(id: number): number {
    const running = this.#holdings.of(id)
    const own = running.length === 1 && isWhole(running[0]) ? (running[0]?.projector?.position ?? 0) : 0
    // One that is past the head as last seen may remember a log that is not there any more.
    return Math.max(own <= this.head ? own : 0, this.#places.position(id))
  }

  /** Up to where a version in another store has been, as far as was seen since it was built: a store that is not there any more went back. */
  floor(id: number): number {
    return this.#places.floor(id)
  }

  /** Milliseconds since the oldest event that a version lacks, as last seen, and since then if the database cannot be seen. */
  lagMs(id: number): number {
    return this.#places.lagMs(id)
  }

  /** What keeps a version from getting on in this process, or undefined. It is tried again. */
  trouble(id: number): string | undefined {
    if (this.#refused.has(id) && this.#places.isFree(id))
      return 'this process does not know an event in it; one with the code for that has to fold it'
    return this.#holdings.of(id).find(({ trouble }) => trouble)?.trouble
  }

  /** Where the rows of a version are; undefined where no projection of this process names that store. */
  placeOf(version: ProjectionVersion): { readonly store: Store; readonly model: StoredModel } | undefined {
    const model = storedModel(this.#runtime.schema, version)
    const store = storeOf(this.#runtime, this.#options.projections, version)
    return store && { store, model }
  }

  /** Whether a projection is this process's own. */
  defines(name: string): boolean {
    return this.#options.projections.some(({ readModelName }) => readModelName === name)
  }

  /** Registers what this process defines and begins to work. @throws {DefinitionError} */
  async start(): Promise<void> {
    for (const projection of this.#options.projections) {
      const id = await registerOwn(this.#runtime, projection, this.#options.projections)
      if (id !== undefined) this.#ids.set(id, projection)
    }
    await this.refresh()
    this.#wellAt = this.#runtime.clock.now()
    // What fails now is tried again in a moment.
    if (this.#folds)
      await this.#beat()
        .then(() => this.tend())
        .catch((error: unknown) => this.#runtime.log('warn', `cannot look after projections yet: ${messageOf(error)}`))
    this.#loops = [this.#run(), ...(this.#folds ? [this.#keepAlive()] : [])]
  }

  /** There are new events, or something else to do. */
  wake(): void {
    this.#feed.wake()
    this.#work.ring()
  }

  /** Ends after the batches under way, and gives its ranges back. */
  async stop(): Promise<void> {
    this.#stop.abort()
    this.#work.ring()
    await Promise.all(this.#loops)
    await this.#tending?.catch(() => undefined)
    // What it gives back is not to be kept for it.
    await sayGone(this.#runtime.database, this.#runtime.schema, this.id).catch(() => undefined)
    await this.#holdings.end()
    await this.#feed.stop()
    await Promise.all(this.#finishing.values())
    await this.#retirement.ended()
  }

  /** Reads again which versions there are. */
  async refresh(): Promise<void> {
    const { database, schema } = this.#runtime
    this.#versions = await readProjections(database, schema)
    for (const { id } of this.#versions) if (this.#ids.has(id) && !this.#skipped.has(id)) this.#skipped.set(id, new Set())
    await refreshSkipped(database, schema, this.#skipped)
    const own: OwnProjection[] = []
    for (const version of this.#versions) {
      const projection = this.#ids.get(version.id)
      if (!projection) continue
      own.push(ownProjection(this.#runtime, projection, version, this.#skipped.get(version.id) ?? new Set()))
    }
    this.#own = own
    this.companion.keep(own.filter((one) => one.folding.sync && isRunnable(one.version)))
  }

  /**
   * Works until every version that can be folded holds every event that is in the log now, and every build is finished; or waits until others have.
   * @throws {NotReadyError} `stopped` when for half a minute there was nobody, here or elsewhere, who could
   */
  async settle(): Promise<void> {
    const { clock, eventLog } = this.#runtime
    const { position: head } = await eventLog.head()
    let foldedAt = clock.now()
    while (!this.#stop.signal.aborted) {
      await this.tend()
      this.wake()
      for (const { projector } of this.#holdings.running) projector?.wake()
      await this.#look()
      const behind = this.#own.filter(
        ({ version }) => isRunnable(version) && (version.state === 'building' || this.position(version.id) < head),
      )
      const [first] = behind
      if (!first) return
      if (clock.now() - foldedAt > tendMs && (await this.#holdings.canAnybody(behind))) foldedAt = clock.now()
      if (clock.now() - foldedAt > lonelyMs)
        throw new NotReadyError(
          'stopped',
          first.version.name,
          'no process folds it; start one with the role projections that knows its events',
        )
      await this.progress.wait(clock, 20)
    }
  }

  /** Looks after leases, requests, builds and what is over, now. */
  tend(): Promise<void> {
    this.#tending ??= this.#tend().finally(() => {
      this.#tending = undefined
    })
    return this.#tending
  }

  get #folds(): boolean {
    return this.#options.fold !== false
  }

  async #run(): Promise<void> {
    const { clock, log } = this.#runtime
    while (!this.#stop.signal.aborted) {
      let pause = this.#options.pollIntervalMs
      try {
        await this.#look()
        if (clock.now() - this.#tendedAt >= tendMs) await this.tend()
        else await this.#takeUp()
      } catch (error) {
        pause = Math.max(pause, 1000)
        if (!this.#stop.signal.aborted) log('warn', `cannot look after projections: ${messageOf(error)}`, { tryAgainMs: pause })
      }
      if (!this.#stop.signal.aborted) await clock.sleep(pause, this.#stop.signal)
    }
  }

  /** What others gave back, or left behind, is not to wait until this process looks after everything. */
  async #takeUp(): Promise<void> {
    const runnable = this.#runnable()
    const isWanted = this.#folds && !this.#stop.signal.aborted && [...runnable.keys()].some((id) => this.#places.isFree(id))
    if (isWanted) await this.#holdings.share(runnable, this.#runs())
  }

  /** Keeps what it has on a timer of its own: whatever else takes long must not cost it its leases. */
  async #keepAlive(): Promise<void> {
    const { clock, log } = this.#runtime
    for (;;) {
      await clock.sleep(tendMs, this.#stop.signal)
      if (this.#stop.signal.aborted) return
      await this.#beat().catch((error: unknown) => log('warn', `cannot keep projections: ${messageOf(error)}`))
    }
  }

  async #beat(): Promise<void> {
    const { database, schema, clock } = this.#runtime
    await this.#holdings.prolong()
    if (clock.now() - this.#wellAt < troubledMs) await sayAlive(database, schema, { id: this.id, runs: this.#runs() })
  }

  /** What this process has the code for, whether it is to be folded now or not. */
  #runs(): ReadonlySet<number> {
    const { stuck } = this.#holdings
    return new Set(this.#own.map(({ version }) => version.id).filter((id) => !this.#refused.has(id) && !stuck.has(id)))
  }

  /** What this process may fold now. */
  #runnable(): ReadonlyMap<number, OwnProjection> {
    const own = this.#own.filter(({ version }) => isRunnable(version) && !this.#refused.has(version.id))
    return new Map(own.map((one) => [one.version.id, one]))
  }

  /** Where everybody is: for lag, for sync projections that were left behind, and for ranges that are free. */
  async #look(): Promise<void> {
    await this.#holdings.report()
    const before = this.#holdings.running.flatMap(({ projector }) => (projector ? [{ projector, position: projector.position }] : []))
    await this.#places.look(this.#versions)
    // A log never gets shorter; another one came in its place.
    for (const { projector, position } of before) if (position > this.head) projector.doubt()
    for (const { folding, version } of this.#own) {
      if (!folding.sync) continue
      const gap = this.head - this.position(version.id)
      this.companion.seen(version.id, gap)
      if (gap > 0) this.#wakeSync()
    }
    this.progress.ring()
  }

  async #tend(): Promise<void> {
    const { database, schema, clock } = this.#runtime
    this.#tendedAt = clock.now()
    await this.refresh()
    await sayDefined(
      database,
      schema,
      this.#options.projections.map(({ readModelName }) => readModelName),
    )
    if (!this.#folds || this.#stop.signal.aborted) return
    await this.#tryAgain()
    const runnable = this.#runnable()
    this.#holdings.keep(runnable)
    await this.#holdings.share(runnable, this.#runs())
    await this.#holdings.hand()
    for (const runner of this.#holdings.running) this.#finish(runner)
    await this.#retirement.look()
    this.#wellAt = clock.now()
  }

  #runner(range: OwnedRange, own: OwnProjection): RangeRunner {
    return new RangeRunner({
      runtime: this.#runtime,
      range,
      own,
      owner: this.id,
      feed: this.#feed,
      pollIntervalMs: this.#options.pollIntervalMs,
      building: () => this.#stateOf(range.projection) === 'building',
      onProgress: (runner) => {
        this.progress.ring()
        this.#finish(runner)
      },
      onStop: (error) => this.#stopped(own, error),
    })
  }

  /** What the code of this process does not know another may know: it may take the version up. */
  async #stopped(own: OwnProjection, error: Error): Promise<void> {
    const code = error instanceof UnknownEventError ? 'unknown_event' : error instanceof LogMismatchError ? 'log_mismatch' : 'handler'
    if (code === 'unknown_event') this.#refused.add(own.version.id)
    await stopProjection(this.#runtime, own.version, code, error.message)
    await this.refresh()
  }

  /** Versions that stopped for an event that their process did not know; this one may have been deployed because of it. */
  async #tryAgain(): Promise<void> {
    const mine = this.#own.filter(
      ({ version }) => version.state === 'stopped' && version.errorCode === 'unknown_event' && !this.#refused.has(version.id),
    )
    if (mine.length === 0) return
    const { database, schema } = this.#runtime
    for (const { version } of mine) await restoreProjection(database, schema, version.id)
    await this.refresh()
  }

  /** A person said that it may run again. */
  readmit(id: number): void {
    this.#refused.delete(id)
  }

  /** A build that reached the head is finished by the owner of its first range. */
  #finish({ range, projector, own }: RangeRunner): void {
    const id = range.projection
    if (this.#stateOf(id) !== 'building' || range.first !== 0 || !projector?.atHead || this.#finishing.has(id) || this.#stop.signal.aborted)
      return
    const finishing = (async () => {
      if (await finishBuild(this.#runtime, own, this.#stop.signal)) await this.refresh()
      else await this.#runtime.clock.sleep(50, this.#stop.signal)
      this.progress.ring()
    })()
      .catch((error: unknown) => this.#runtime.log('warn', `${own.version.name}: the build could not be finished yet: ${messageOf(error)}`))
      .finally(() => this.#finishing.delete(id))
    this.#finishing.set(id, finishing)
  }

  #stateOf(id: number): ProjectionState | undefined {
    return this.#versions.find((version) => version.id === id)?.state
  }

  #wakeSync(): void {
    for (const { own, projector } of this.#holdings.running) if (own.folding.sync) projector?.wake()
  }
}

function isWhole(runner: RangeRunner | undefined): boolean {
  return runner?.range.first === 0 && runner.range.last === partitionCount - 1
}
