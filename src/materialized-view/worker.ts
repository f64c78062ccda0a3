import { randomUUID } from 'node:crypto'
import { changedSources, installCapture, refreshLeaves } from '../change/capture.ts'
import { quote } from '../database/identifier.ts'
import { unseenMs } from '../internal/unseen.ts'
import { Wake } from '../internal/wake.ts'
import type { Schema } from '../message/schema.ts'
import { finishBuild } from './build.ts'
import { Drain } from './drain.ts'
import { readVersions, stopVersion, type ViewRuntime, type ViewVersion } from './registry.ts'
import { dropIdleMarks, retireOrphans, retireVersions } from './retire.ts'
import { StoreDrain } from './store-drain.ts'
import { storedView } from './stored-view.ts'

/** A view as this process defines it. */
export interface OwnView {
  readonly row: Schema
  /** The version that its definition is of; undefined where that was dropped. */
  readonly version: number | undefined
}

export interface WorkerOptions {
  /** The views this process defines, by name. It drains every version of theirs, and finishes those that it defines. */
  readonly views: ReadonlyMap<string, OwnView>
  readonly pollIntervalMs: number
  readonly rollbackWindowMs: number
  /** False: this process only looks at versions and lags, and leaves all work to others. Default true. */
  readonly works?: boolean
  /** Rung after each batch; default: one of its own. */
  readonly progress?: Wake
  /** More to do every two seconds. */
  readonly onMaintenance?: () => Promise<void>
}

interface Pending {
  readonly view: number
  readonly lag_ms: number
  readonly waiting: boolean
}

const maintenanceMs = 2000

/**
 * Keeps the views of this process in step: looks for marks when woken and every poll interval, drains each view on its own, finishes builds,
 * watches the catalogue, and drops what is over. Polling is the truth, waking only a hint.
 */
export class ViewWorker {
  /** Rings after each batch, for those who wait for a read model to get somewhere. */
  readonly progress: Wake
  readonly #runtime: ViewRuntime
  readonly #options: WorkerOptions
  readonly #work = new Wake()
  readonly #stop = new AbortController()
  #versions: readonly ViewVersion[] = []
  #lags: ReadonlyMap<number, number> = new Map()
  #seenAt = Number.POSITIVE_INFINITY
  readonly #drains = new Map<number, Drain | StoreDrain>()
  /** Under which name this process works on views in other stores. */
  readonly #who = randomUUID()
  #maintainedAt = Number.NEGATIVE_INFINITY
  #loop: Promise<void> | undefined
  #finishing: Promise<unknown> = Promise.resolve()

  constructor(runtime: ViewRuntime, options: WorkerOptions) {
    this.#runtime = runtime
    this.#options = options
    this.progress = options.progress ?? new Wake()
  }

  /** Every version in the database as last seen, of this process's views and others. */
  get versions(): readonly ViewVersion[] {
    return this.#versions
  }

  /** Milliseconds since the oldest change that a version lacks, as last seen, and since then if the database cannot be seen. */
  lagMs(view: number): number {
    return (this.#lags.get(view) ?? 0) + unseenMs(this.#runtime.clock.now(), this.#seenAt, this.#options.pollIntervalMs)
  }

  async start(): Promise<void> {
    await this.refresh()
    this.#loop = this.#run()
  }

  /** There may be something to do. */
  wake(): void {
    this.#work.ring()
  }

  /** Ends after the batches under way. */
  async stop(): Promise<void> {
    this.#stop.abort()
    this.#work.ring()
    await this.#loop
    await Promise.allSettled([...this.#drains.values()].map((drain) => drain.run(this.#stop.signal)))
    await this.#finishing
  }

  /** Reads again which versions there are. */
  async refresh(): Promise<void> {
    this.#versions = await readVersions(this.#runtime.database, this.#runtime.schema)
  }

  /** Works until no view has a mark left and every build is finished. */
  async settle(): Promise<void> {
    for (;;) {
      await this.refresh()
      const pending = await this.#pending()
      const own = this.#own()
      const busy = own.filter(({ id, filling }) => filling || pending.some(({ view, waiting }) => view === id && waiting))
      const building = own.filter((version) => version.state === 'building' && this.#mayFinish(version))
      if (this.#works) {
        await Promise.all(busy.map((version) => this.#drain(version)?.run(this.#stop.signal)))
        for (const version of building) await finishBuild(this.#runtime, version, this.#rowOf(version))
      }
      if (busy.length === 0 && building.length === 0) return
      if (this.#stop.signal.aborted) return
      // Another process may be at it.
      if (!this.#works || busy.some(({ store }) => store !== null)) await this.#runtime.clock.sleep(10, this.#stop.signal)
      else await new Promise((resolve) => setImmediate(resolve))
    }
  }

  get #works(): boolean {
    return this.#options.works !== false
  }

  async #run(): Promise<void> {
    const { clock, log } = this.#runtime
    while (!this.#stop.signal.aborted) {
      let pause = this.#options.pollIntervalMs
      try {
        await this.#look()
      } catch (error) {
        pause = Math.max(pause, 1000)
        if (!this.#stop.signal.aborted)
          log('warn', `cannot look for changes: ${error instanceof Error ? error.message : String(error)}`, { tryAgainMs: pause })
      }
      if (!this.#stop.signal.aborted) await this.#work.wait(clock, pause, this.#stop.signal)
    }
  }

  async #look(): Promise<void> {
    const { clock } = this.#runtime
    if (clock.now() - this.#maintainedAt >= maintenanceMs) {
      this.#maintainedAt = clock.now()
      await this.#maintain()
    }
    const pending = await this.#pending()
    // Others do the work: whoever waits here for a read model is told to look again.
    if (!this.#works) return this.progress.ring()
    for (const version of this.#own()) {
      const drain = this.#drain(version)
      if (!drain) continue
      const waiting = pending.some((entry) => entry.view === version.id && entry.waiting)
      if (waiting || (drain instanceof StoreDrain && drain.isDue)) void drain.run(this.#stop.signal).then(() => this.#finish(version))
      else this.#finish(version)
    }
  }

  async #pending(): Promise<readonly Pending[]> {
    const { rows } = await this.#runtime.database.query<Pending>(
      `select view, lag_ms, waiting from ${quote(this.#runtime.schema)}.pending()`,
      [],
      { prepare: true },
    )
    this.#lags = new Map(rows.map(({ view, lag_ms }) => [view, lag_ms]))
    this.#seenAt = this.#runtime.clock.now()
    return rows
  }

  #own(): readonly ViewVersion[] {
    const { views } = this.#options
    return this.#versions.filter(({ name, state }) => views.has(name) && (state === 'building' || state === 'live' || state === 'previous'))
  }

  /** Undefined: its rows are in a store that this process does not know. */
  #drain(version: ViewVersion): Drain | StoreDrain | undefined {
    const known = this.#drains.get(version.id)
    if (known) return known
    const onBatch = () => this.progress.ring()
    const view = storedView(this.#runtime, version)
    if (version.store !== null && !view) return undefined
    const made = view ? new StoreDrain(this.#runtime, view, this.#who, onBatch) : new Drain(this.#runtime, version, onBatch)
    this.#drains.set(version.id, made)
    return made
  }

  /** The schema of a version's rows, where this process defines it. */
  #rowOf({ id, name }: ViewVersion): Schema | undefined {
    const own = this.#options.views.get(name)
    return own?.version === id ? own.row : undefined
  }

  /** Whether a build may go live is for those to say who define it; one that was live before, and was resumed, anybody may finish. */
  #mayFinish(version: ViewVersion): boolean {
    return version.builtAt !== null || this.#options.views.get(version.name)?.version === version.id
  }

  #finish(version: ViewVersion): void {
    if (version.state !== 'building' || !this.#mayFinish(version) || this.#stop.signal.aborted) return
    this.#finishing = this.#finishing
      .then(async () => {
        if (this.#stop.signal.aborted) return
        const now = this.#versions.find(({ id }) => id === version.id)
        if (now?.state !== 'building') return
        if (await finishBuild(this.#runtime, now, this.#rowOf(now))) await this.refresh()
        this.progress.ring()
      })
      .catch((error: unknown) =>
        this.#runtime.log(
          'warn',
          `${version.name}: the build could not be finished yet: ${error instanceof Error ? error.message : String(error)}`,
        ),
      )
  }

  async #maintain(): Promise<void> {
    const { database, schema } = this.#runtime
    await this.refresh()
    // In one order, so that two processes cannot wait for each other.
    await database.query(
      `with own as materialized (select name from ${quote(schema)}.read_model where name = any ($1::text[]) order by name for update)
       update ${quote(schema)}.read_model r set seen_at = clock_timestamp() from own where r.name = own.name`,
      [[...this.#options.views.keys()]],
    )
    if (this.#works) await this.#tidy()
    await this.#options.onMaintenance?.()
  }

  async #tidy(): Promise<void> {
    const { database, schema, log } = this.#runtime
    const { rows } = await database.query<{ name: string; message: string; times: number }>(
      `with c as (delete from ${quote(schema)}.complaint returning view, message)
       select v.name, c.message, count(*) as times from c join ${quote(schema)}.view v on v.id = c.view group by 1, 2`,
    )
    for (const { name, message, times } of rows)
      log('warn', `${name}: could not be brought up to date in the writer's transaction, a worker did it after: ${message}`, { times })
    await this.#watchCatalogue()
    await dropIdleMarks(this.#runtime)
    await retireOrphans(this.#runtime, [...this.#options.views.keys()])
    await retireVersions(this.#runtime, this.#options.rollbackWindowMs)
  }

  /** A table that was altered, attached, rewritten or robbed of its triggers: capture is installed anew and every key selected again. */
  async #watchCatalogue(): Promise<void> {
    const { database, schema, log } = this.#runtime
    for (const { relation, name, gone } of await changedSources(database, schema)) {
      const { rows } = await database.query<{ view: number; name: string }>(
        `select m.view, v.name from ${quote(schema)}.map m join ${quote(schema)}.view v on v.id = m.view where m.source = $1::oid`,
        [relation],
      )
      if (gone) {
        for (const view of rows) await stopVersion(this.#runtime, view.view, view.name, `the table ${name}, which it reads, was dropped`)
        await database.query(`delete from ${quote(schema)}.source where relation = $1::oid`, [relation])
        continue
      }
      log('warn', `the table ${name} was changed: watching it anew, and selecting every row that depends on it again`, {
        readModels: rows.map((view) => view.name),
      })
      await refreshLeaves(database, schema, relation)
      await installCapture(this.#runtime, relation)
    }
  }
}
