import type { Staging } from '../command/command-runtime.ts'
import { Snapshots } from '../command/snapshots.ts'
import { StateCache } from '../command/state-cache.ts'
import { UsageError } from '../errors.ts'
import type { Wake } from '../internal/wake.ts'
import { databaseLog } from '../log/database-log.ts'
import type { AppendRequest, CompanionPart, EventLog } from '../log/log.ts'
import type { LogRuntime } from '../log/log-runtime.ts'
import { stageAppend, takeStaged } from '../log/stage-append.ts'
import type { ViewRuntime } from '../materialized-view/registry.ts'
import type { Projection } from '../projection/projection.ts'
import { projectionStatuses } from '../projection/projection-status.ts'
import { dropProjection, type ProjectionRuntime, readProjections } from '../projection/registry.ts'
import { ProjectionWorker } from '../projection/worker.ts'
import type { Reaction } from '../reaction/reaction.ts'
import type { SendCommand } from '../reaction/reaction-runtime.ts'
import { ReactionWorker } from '../reaction/reaction-worker.ts'
import { databaseStore } from '../read-model/database-store.ts'
import type { ReadModelStatus } from '../read-model/read-model.ts'

export interface EventSideOptions {
  readonly projections: readonly Projection[]
  readonly reactions: readonly Reaction[]
  readonly pollIntervalMs: number
  readonly rollbackWindowMs: number
  /** Whether this process folds and reacts, or only appends and reads. */
  readonly works: boolean
  readonly stateCache: { readonly entries?: number; readonly bytes?: number } | undefined
  readonly generation: () => string
  readonly renewGeneration: () => Promise<void>
  readonly send: SendCommand
  readonly progress: Wake
}

/** The log of an application and everything that hangs on it: states of aggregates, projections, reactions. */
export class EventSide {
  readonly eventLog: EventLog
  readonly states: StateCache
  readonly snapshots: Snapshots
  readonly staging: Staging
  readonly projections: ProjectionWorker
  readonly projectionRuntime: ProjectionRuntime
  readonly reactions: ReactionWorker
  readonly #staged = new Map<string, CompanionPart>()

  readonly #options: EventSideOptions

  constructor(runtime: ViewRuntime, options: EventSideOptions) {
    this.#options = options
    const { database, schema, clock, log } = runtime
    this.states = new StateCache(options.stateCache)
    this.snapshots = new Snapshots({ database, schema, log })
    const logRuntime = this.#logRuntime(runtime, options)
    this.eventLog = databaseLog(logRuntime)
    this.staging = this.#stagingOf(logRuntime)
    this.projectionRuntime = {
      database,
      schema,
      clock,
      log,
      eventLog: this.eventLog,
      store: databaseStore(database, schema, { home: true }),
    }
    this.projections = new ProjectionWorker(this.projectionRuntime, {
      projections: options.projections,
      pollIntervalMs: options.pollIntervalMs,
      rollbackWindowMs: options.rollbackWindowMs,
      fold: options.works,
      progress: options.progress,
    })
    this.reactions = new ReactionWorker(
      { database, schema, clock, log, eventLog: this.eventLog, send: options.send },
      options.works ? options.reactions : [],
      { pollIntervalMs: options.pollIntervalMs },
    )
  }

  async start(): Promise<void> {
    if (this.#options.projections.length > 0) await this.projections.start()
    await this.reactions.start()
  }

  /** Resolves when every projection holds every event, and every reaction has done what is due. */
  async settle(): Promise<void> {
    await this.reactions.settle()
    if (this.#options.projections.length > 0) await this.projections.settle()
  }

  async stop(): Promise<void> {
    await this.reactions.stop()
    await this.projections.stop()
    await this.snapshots.settled()
  }

  /** How every projection in the database is, defined here or not. */
  async statuses(defined: ReadonlySet<string>): Promise<readonly ReadModelStatus[]> {
    const { projections } = this
    // A process without projections does not look after them, but others' may be there.
    await projections.refresh()
    return await projectionStatuses(this.projectionRuntime, projections.versions, {
      defined,
      storeOf: (version) => projections.placeOf(version)?.store,
      trouble: (id) => projections.trouble(id),
    })
  }

  /** Drops all versions of a projection that nobody defines any more. False when there is none of that name. */
  async drop(name: string): Promise<boolean> {
    const { database, schema, store } = this.projectionRuntime
    const versions = (await readProjections(database, schema)).filter((version) => version.name === name)
    const elsewhere = versions.find((version) => version.store !== null)
    if (elsewhere) {
      throw new UsageError(
        `drop('${name}'): its rows are in ${elsewhere.store}, which no definition names any more; drop them there, or define it once more`,
      )
    }
    for (const version of versions) await dropProjection(this.projectionRuntime, version, store)
    return versions.length > 0
  }

  /** There are new events. */
  wake(): void {
    this.projections.wake()
    this.reactions.wake()
  }

  /** Forgets what was read over a connection that was lost, or from a database that is not the one it was. */
  forget(): void {
    this.states.clear()
    this.projections.companion.clear()
  }

  #logRuntime({ database, schema, clock, log }: ViewRuntime, { generation, renewGeneration, projections }: EventSideOptions): LogRuntime {
    const side = this
    return {
      database,
      schema,
      clock,
      log,
      generation,
      renewGeneration,
      onLost: () => this.forget(),
      onAppended: () => this.wake(),
      get companion() {
        return projections.length > 0 ? side.projections.companion : undefined
      },
    }
  }

  #stagingOf(logRuntime: LogRuntime): Staging {
    const { database, schema } = logRuntime
    return {
      stage: async (transaction, request: AppendRequest) => {
        const { companion } = this.projections
        const staged = await companion.stage(transaction, request)
        const id = await stageAppend(logRuntime, transaction, request, staged)
        this.#staged.set(id, staged.part)
        return id
      },
      take: async (id) => {
        const outcome = await takeStaged(database, schema, id)
        const part = this.#staged.get(id)
        this.#staged.delete(id)
        if (part) this.projections.companion.unstage(part, outcome?.left ?? [])
        this.wake()
        if (!outcome) throw new UsageError(`the outcome of the staged append ${id} is not there`)
        return outcome
      },
    }
  }
}
