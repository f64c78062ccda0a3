import type { CommandRuntime } from '../command/command-runtime.ts'
import { refuseInsideCommand } from '../command/command-scope.ts'
import { executeCommand } from '../command/execute-command.ts'
import { executeDecision } from '../command/execute-decision.ts'
import { executeMany } from '../command/execute-many.ts'
import { executeManyDecisions } from '../command/execute-many-decisions.ts'
import { sweepCommands } from '../command/sweep-commands.ts'
import { quote } from '../database/identifier.ts'
import { UnknownNameError, UsageError } from '../errors.ts'
import { systemClock } from '../internal/clock.ts'
import { consoleLog } from '../internal/log.ts'
import { Wake } from '../internal/wake.ts'
import { sweepStaged } from '../log/stage-append.ts'
import { checkDefinitions, install } from '../materialized-view/install.ts'
import type { ViewRuntime } from '../materialized-view/registry.ts'
import { viewStores } from '../materialized-view/stored-view.ts'
import { viewStatuses } from '../materialized-view/view-status.ts'
import { type OwnView, ViewWorker } from '../materialized-view/worker.ts'
import type { Command } from '../message/command.ts'
import { type ProjectionHandle, projectionHandle } from '../projection/projection-handle.ts'
import { answer, type ReadSide } from '../query/answer.ts'
import { refuseKeyOfTask } from '../reaction/task.ts'
import type { ReadModelStatus } from '../read-model/read-model.ts'
import type {
  CommandsBy,
  Definitions,
  Headwater,
  HeadwaterOptions,
  QueriesBy,
  ReactionHandle,
  ReadModelHandle,
  Role,
  StartOptions,
} from './app.ts'
import { type Defined, definedBy } from './definitions.ts'
import { EventSide } from './event-side.ts'
import { readGeneration } from './generation.ts'
import { HeldStores } from './held-stores.ts'
import { Life } from './life.ts'
import { checkSchemaName, prepareSchema } from './prepare-schema.ts'
import { reactionHandle } from './reaction-handle.ts'
import { readSide } from './read-side.ts'
import { removeReadModel, removeSchema } from './removal.ts'
import { allRoles, checkedRoles, mustHave } from './roles.ts'
import { untilStopped } from './until-stopped.ts'
import { viewHandle } from './view-handle.ts'
import { checkedToken, mergedToken } from './written-token.ts'

const day = 24 * 60 * 60 * 1000

/**
 * Puts an application together: its database, commands, read models and queries. Nothing happens before `start()`.
 *
 * @example
 * const app = headwater({ database: postgres(process.env.DATABASE_URL), commands, readModels, queries })
 * await app.start()
 * const { token } = await app.execute('publishPost', { postId, authorId, body })
 * const { result } = await app.query('timeline', {}, { after: token })
 */
export function headwater<C extends Definitions = Record<never, never>, Q extends Definitions = Record<never, never>>(
  options: HeadwaterOptions<C, Q>,
): Headwater<CommandsBy<C>, QueriesBy<Q>> {
  return new Application(options) as unknown as Headwater<CommandsBy<C>, QueriesBy<Q>>
}

/** What depends on the roles of this process. */
interface Parts {
  readonly events: EventSide
  readonly worker: ViewWorker
  readonly commandRuntime: CommandRuntime
  readonly side: ReadSide
}

class Application {
  readonly #options: HeadwaterOptions<Definitions, Definitions>
  readonly #runtime: ViewRuntime
  readonly #defined: Defined
  readonly #stores: HeldStores
  /** Rings when any read model got further. */
  readonly #progress = new Wake()
  readonly #life = new Life()
  #roles: ReadonlySet<Role> = new Set(allRoles)
  /** Made by `start()`. */
  #assembled: Parts | undefined
  #generation = ''

  constructor(options: HeadwaterOptions<Definitions, Definitions>) {
    this.#options = options
    this.#runtime = {
      database: options.database,
      schema: options.schema ?? 'headwater',
      clock: options.clock ?? systemClock,
      log: options.log ?? consoleLog(),
      stores: viewStores(options.readModels ?? {}),
    }
    checkSchemaName(this.#runtime.schema)
    this.#defined = definedBy(options)
    checkDefinitions([...this.#defined.readModels])
    this.#stores = new HeldStores(this.#defined)
  }

  get #parts(): Parts {
    if (!this.#assembled) throw new UsageError('the application was not started')
    return this.#assembled
  }

  #assemble({ works, views }: { readonly works: boolean; readonly views: ReadonlyMap<string, OwnView> }): Parts {
    const options = this.#options
    const { pollIntervalMs = 100, rollbackWindowMs = day } = options
    const { projections, reactions } = this.#defined
    const events = new EventSide(this.#runtime, {
      projections,
      reactions,
      pollIntervalMs,
      rollbackWindowMs,
      works,
      stateCache: options.stateCache,
      generation: () => this.#generation,
      renewGeneration: () => this.#checkGeneration(this.#runtime),
      progress: this.#progress,
      // A reaction's command belongs to the reaction, whether or not others may send commands to this process.
      send: ({ command, input }, { correlationId, ...sent }) => this.#execute(command, input, { ...sent, context: { correlationId } }),
    })
    const worker = new ViewWorker(this.#runtime, {
      views,
      pollIntervalMs,
      rollbackWindowMs,
      works,
      progress: this.#progress,
      onMaintenance: () => this.#maintain(),
    })
    const { eventLog, states, snapshots, staging } = events
    const side = readSide(this.#runtime, events, {
      views: worker,
      generation: () => this.#generation,
      folds: projections.length > 0,
      progress: this.#progress,
    })
    return { events, worker, commandRuntime: { ...this.#runtime, eventLog, states, snapshots, staging }, side }
  }

  async start(options?: StartOptions): Promise<void> {
    const roles = checkedRoles(options)
    await this.#life.start(async (starting) => {
      this.#roles = roles
      const runtime = untilStopped(this.#runtime, starting)
      await prepareSchema(runtime, this.#options.connectTimeoutMs ?? 30_000)
      await this.#checkGeneration(runtime)
      const views = new Map<string, OwnView>()
      for (const view of this.#defined.views)
        views.set(view.readModelName, { row: view['~view'].row, version: await install(runtime, view) })
      starting.goOn()
      this.#assembled = this.#assemble({ works: roles.has('projections'), views })
      const { events, worker } = this.#assembled
      await worker.start()
      // Reactions may be due at once, and send commands.
      this.#life.opened()
      starting.goOn()
      await events.start()
    })
  }

  async stop(): Promise<void> {
    await this.#life.stop(() => this.#end())
  }

  /** Ends what works, and then, when nothing does any more, what it worked on. */
  async #end(last: () => Promise<void> = async () => undefined): Promise<void> {
    await this.#assembled?.events.stop()
    await this.#assembled?.worker.stop()
    await last()
    await this.#stores.release()
    await this.#runtime.database.close()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop()
  }

  async execute(name: string, input: unknown, options: Parameters<Headwater['execute']>[2] = {}): Promise<unknown> {
    mustHave(this.#roles, 'commands', 'execute')
    refuseKeyOfTask(name, options.idempotencyKey)
    return await this.#life.during('execute', () => this.#execute(name, input, options))
  }

  async #execute(name: string, input: unknown, options: Parameters<Headwater['execute']>[2] = {}): Promise<unknown> {
    const { commandRuntime, worker, side } = this.#parts
    const generation = this.#generation
    const definition = this.#command(name)
    const after = checkedToken(generation, options.after)
    if (definition['~kind'] === 'events') {
      const { result, position, replayed } = await executeDecision(commandRuntime, definition, input, options)
      // Its events are in the log alone: no mark of a view waits for its transaction.
      const token = await mergedToken(side, generation, { writes: [], position: position ?? 0 }, after)
      return { result, token, replayed }
    }
    const { result, write, position, replayed } = await executeCommand(commandRuntime, definition, input, options)
    worker.wake()
    const token = await mergedToken(side, generation, { writes: write ? [write] : [], position: position ?? 0 }, after)
    return { result, token, replayed }
  }

  async executeMany(name: string, inputs: Iterable<unknown>, options: Parameters<Headwater['executeMany']>[2] = {}): Promise<unknown> {
    mustHave(this.#roles, 'commands', 'executeMany')
    const { commandRuntime, worker, side } = this.#started('executeMany')
    const generation = this.#generation
    const definition = this.#command(name)
    const { executed, writes, position } = await (definition['~kind'] === 'events'
      ? executeManyDecisions(commandRuntime, definition, inputs, options)
      : executeMany(commandRuntime, definition, inputs, options))
    worker.wake()
    return { executed, token: await mergedToken(side, generation, { writes, position: position ?? 0 }, undefined) }
  }

  async query(name: string, input: unknown, options: Parameters<Headwater['query']>[2] = {}): Promise<unknown> {
    mustHave(this.#roles, 'queries', 'query')
    const { side } = this.#started('query')
    refuseInsideCommand(`query(${JSON.stringify(name)})`)
    const definition = this.#defined.queries.get(name)
    if (!definition) throw new UnknownNameError('query', name, [...this.#defined.queries.keys()])
    return await this.#life.during('query', () => answer(side, definition, input, options))
  }

  async status(): ReturnType<Headwater['status']> {
    const { worker, events, side } = this.#started('status')
    await worker.refresh()
    const defined = this.#defined.readModels
    const [views, projections] = await Promise.all([
      viewStatuses(this.#runtime, worker.versions, { defined, lagMs: (view) => worker.lagMs(view) }),
      events.statuses(defined),
    ])
    const readModels = [...views, ...projections].sort((a, b) => (a.name < b.name ? -1 : 1))
    const replicas = (await side.replicas?.statuses()) ?? []
    return { readModels, reactions: await events.reactions.status(), replicas, id: events.projections.id }
  }

  readModel(name: string): ReadModelHandle {
    const { worker } = this.#started('readModel')
    const { readModels } = this.#defined
    if (!readModels.has(name)) throw new UnknownNameError('read_model', name, [...readModels])
    if (this.#defined.projections.some(({ readModelName }) => readModelName === name)) return this.projection(name)
    return viewHandle(this.#runtime, worker, name, () => this.#statusOf(name))
  }

  reaction(name: string): ReactionHandle {
    const { events } = this.#started('reaction')
    const names = this.#defined.reactions.map(({ reactionName }) => reactionName)
    return reactionHandle(events.reactions, names, name)
  }

  projection(name: string): ProjectionHandle {
    const { events } = this.#started('projection')
    const names = this.#defined.projections.map(({ readModelName }) => readModelName)
    if (!names.includes(name)) throw new UnknownNameError('read_model', name, names)
    return projectionHandle(events.projectionRuntime, events.projections, name, () => this.#statusOf(name))
  }

  async #statusOf(name: string): Promise<ReadModelStatus | undefined> {
    return (await this.status()).readModels.find((status) => status.name === name)
  }

  async settle(): Promise<void> {
    const { worker, events } = this.#started('settle')
    // Reactions write, and what they write is folded and reacted to again, until nothing moves any more.
    for (;;) {
      const { position } = await events.eventLog.head()
      await events.settle()
      await worker.settle()
      if ((await events.eventLog.head()).position === position) return
    }
  }

  async drop(name: string): Promise<void> {
    const { worker, events } = this.#started('drop')
    if (this.#defined.readModels.has(name)) {
      throw new UsageError(`drop('${name}'): this application defines it; take its definition out first`)
    }
    await removeReadModel(this.#runtime, worker, events, name)
  }

  async uninstall(): Promise<void> {
    const { worker, events } = this.#started('uninstall')
    let removed = Promise.resolve()
    await this.#life.stop(() =>
      this.#end(async () => {
        removed = removeSchema(this.#runtime, worker, events)
        await Promise.allSettled([removed])
      }),
    )
    await removed
  }

  /** @throws {UsageError} it is not started, or not any more */
  #started(what: string): Parts {
    this.#life.mustBeStarted(what)
    return this.#parts
  }

  /** A database that is not the one it was: marks of lost transactions are gone with them, so every row is selected again. */
  async #checkGeneration({ database, schema, log }: ViewRuntime): Promise<void> {
    const { id, changed } = await readGeneration(database, schema)
    if (this.#generation !== '' && this.#generation === id) return
    this.#generation = id
    if (!changed) return
    this.#assembled?.events.forget()
    log(
      'warn',
      'the database was restored, copied or failed over: a new generation begins, older tokens are refused, and every row is selected again',
      { generation: id },
    )
    await database.query(
      `insert into ${quote(schema)}.mark (view, lane, map, keys) select id, 1, -1, '{}' from ${quote(schema)}.view where state <> 'installing'`,
    )
  }

  async #maintain(): Promise<void> {
    await this.#checkGeneration(this.#runtime)
    await sweepCommands(this.#runtime, this.#options.idempotencyRetentionMs ?? 7 * day)
    await sweepStaged(this.#runtime.database, this.#runtime.schema)
  }

  #command(name: string): Command {
    const { commands } = this.#defined
    const definition = commands.get(name)
    if (!definition) throw new UnknownNameError('command', name, [...commands.keys()])
    return definition
  }
}
