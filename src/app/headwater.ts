import type { CommandRuntime } from '../command/command-runtime.ts'
import { refuseInsideCommand } from '../command/command-scope.ts'
import { executeCommand } from '../command/execute-command.ts'
import { executeDecision } from '../command/execute-decision.ts'
import { executeMany } from '../command/execute-many.ts'
import { executeManyDecisions } from '../command/execute-many-decisions.ts'
import { sweepCommands } from '../command/sweep-commands.ts'
import { quote } from '../database/identifier.ts'
import { migrate } from '../database/migrate.ts'
import { DatabaseUnavailableError, DefinitionError, UnknownNameError, UsageError } from '../errors.ts'
import { systemClock } from '../internal/clock.ts'
import { consoleLog } from '../internal/log.ts'
import { retry } from '../internal/retry.ts'
import { Wake } from '../internal/wake.ts'
import { sweepStaged } from '../log/stage-append.ts'
import { checkDefinitions, dropStored, install, removeVersions } from '../materialized-view/install.ts'
import type { ViewRuntime } from '../materialized-view/registry.ts'
import { viewStores } from '../materialized-view/stored-view.ts'
import { viewStatuses } from '../materialized-view/view-status.ts'
import { ViewWorker } from '../materialized-view/worker.ts'
import type { Command } from '../message/command.ts'
import { type ProjectionHandle, projectionHandle } from '../projection/projection-handle.ts'
import { answer, type ReadSide } from '../query/answer.ts'
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
import { locate } from './locate.ts'
import { reactionHandle } from './reaction-handle.ts'
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

const allRoles: readonly Role[] = ['commands', 'projections', 'queries']

function checkedRoles(roles: readonly Role[]): ReadonlySet<Role> {
  const odd = roles.find((role) => !allRoles.includes(role))
  if (odd === undefined && roles.length > 0) return new Set(roles)
  throw new UsageError(`start(): "roles" holds some of ${allRoles.join(', ')}${odd === undefined ? '' : `; ${String(odd)} is none`}`)
}

/** What depends on the roles of this process. */
interface Parts {
  readonly events: EventSide
  readonly commandRuntime: CommandRuntime
  readonly side: ReadSide
}

class Application {
  readonly #options: HeadwaterOptions<Definitions, Definitions>
  readonly #runtime: ViewRuntime
  readonly #defined: Defined
  /** Rings when any read model got further. */
  readonly #progress = new Wake()
  #parts: Parts
  #roles: ReadonlySet<Role> = new Set(allRoles)
  #worker: ViewWorker | undefined
  #generation = ''
  #state: 'new' | 'starting' | 'started' | 'stopped' = 'new'

  constructor(options: HeadwaterOptions<Definitions, Definitions>) {
    this.#options = options
    this.#runtime = {
      database: options.database,
      schema: options.schema ?? 'headwater',
      clock: options.clock ?? systemClock,
      log: options.log ?? consoleLog(),
      stores: viewStores(options.readModels ?? {}),
    }
    if (!/^[a-z][a-z0-9_]{0,39}$/.test(this.#runtime.schema)) {
      throw new DefinitionError(
        `schema ${JSON.stringify(this.#runtime.schema)}: a name has 1 to 40 of a-z, 0-9 and _, and begins with a letter`,
      )
    }
    this.#defined = definedBy(options)
    checkDefinitions([...this.#defined.readModels])
    this.#parts = this.#assembled({ works: true })
  }

  get #events(): EventSide {
    return this.#parts.events
  }

  #assembled({ works }: { readonly works: boolean }): Parts {
    const options = this.#options
    const events = new EventSide(this.#runtime, {
      projections: this.#defined.projections,
      reactions: this.#defined.reactions,
      pollIntervalMs: options.pollIntervalMs ?? 100,
      rollbackWindowMs: options.rollbackWindowMs ?? day,
      works,
      stateCache: options.stateCache,
      generation: () => this.#generation,
      renewGeneration: () => this.#checkGeneration(),
      progress: this.#progress,
      // A reaction's command belongs to the reaction, whether or not others may send commands to this process.
      send: ({ command, input }, { correlationId, ...sent }) => this.#execute(command, input, { ...sent, context: { correlationId } }),
    })
    const { eventLog, states, snapshots, staging } = events
    return { events, commandRuntime: { ...this.#runtime, eventLog, states, snapshots, staging }, side: this.#readSide(events) }
  }

  async start({ roles = allRoles }: StartOptions = {}): Promise<void> {
    if (this.#state !== 'new') throw new UsageError(`start() was called when the application was ${this.#state}`)
    this.#roles = checkedRoles(roles)
    const works = this.#roles.has('projections')
    if (!works) this.#parts = this.#assembled({ works })
    this.#state = 'starting'
    const { database, schema, clock, log } = this.#runtime
    const deadline = clock.now() + (this.#options.connectTimeoutMs ?? 30_000)
    const migrated = await retry(() => migrate(database, schema), {
      clock,
      attempts: Number.POSITIVE_INFINITY,
      baseMs: 250,
      maxMs: 5000,
      when: (error) => error instanceof DatabaseUnavailableError && clock.now() < deadline,
      onRetry: (error, _attempt, pause) => log('warn', `the database does not answer: ${(error as Error).message}`, { tryAgainMs: pause }),
    })
    if (migrated.length > 0)
      log('info', `schema ${schema}: ${migrated.length === 1 ? 'one migration' : `${migrated.length} migrations`} applied`, {
        migrations: migrated,
      })
    await this.#checkGeneration()
    const { views } = this.#defined
    for (const view of views) await install(this.#runtime, view)
    this.#worker = new ViewWorker(this.#runtime, {
      rows: new Map(views.map((view) => [view.readModelName, view['~view'].row])),
      pollIntervalMs: this.#options.pollIntervalMs ?? 100,
      rollbackWindowMs: this.#options.rollbackWindowMs ?? day,
      works,
      progress: this.#progress,
      onMaintenance: () => this.#maintain(),
    })
    await this.#worker.start()
    this.#state = 'started'
    await this.#events.start()
  }

  async stop(): Promise<void> {
    if (this.#state === 'stopped') return
    this.#state = 'stopped'
    await this.#events.stop()
    await this.#worker?.stop()
    await this.#runtime.database.close()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop()
  }

  async execute(name: string, input: unknown, options: Parameters<Headwater['execute']>[2] = {}): Promise<unknown> {
    this.#must('commands', 'execute')
    return await this.#execute(name, input, options)
  }

  async #execute(name: string, input: unknown, options: Parameters<Headwater['execute']>[2] = {}): Promise<unknown> {
    const { generation } = this.#started('execute')
    const definition = this.#command(name)
    const after = checkedToken(generation, options.after)
    if (definition['~kind'] === 'events') {
      const { result, position, replayed } = await executeDecision(this.#parts.commandRuntime, definition, input, options)
      // Its events are in the log alone: no mark of a view waits for its transaction.
      const token = await mergedToken(this.#runtime, generation, { writes: [], position: position ?? 0 }, after)
      return { result, token, replayed }
    }
    const { result, write, position, replayed } = await executeCommand(this.#parts.commandRuntime, definition, input, options)
    this.#worker?.wake()
    const token = await mergedToken(this.#runtime, generation, { writes: write ? [write] : [], position: position ?? 0 }, after)
    return { result, token, replayed }
  }

  async executeMany(name: string, inputs: Iterable<unknown>, options: Parameters<Headwater['executeMany']>[2] = {}): Promise<unknown> {
    this.#must('commands', 'executeMany')
    const { generation } = this.#started('executeMany')
    const definition = this.#command(name)
    const { executed, writes, position } = await (definition['~kind'] === 'events'
      ? executeManyDecisions(this.#parts.commandRuntime, definition, inputs, options)
      : executeMany(this.#parts.commandRuntime, definition, inputs, options))
    this.#worker?.wake()
    return { executed, token: await mergedToken(this.#runtime, generation, { writes, position: position ?? 0 }, undefined) }
  }

  async query(name: string, input: unknown, options: Parameters<Headwater['query']>[2] = {}): Promise<unknown> {
    this.#must('queries', 'query')
    this.#started('query')
    refuseInsideCommand(`query(${JSON.stringify(name)})`)
    const definition = this.#defined.queries.get(name)
    if (!definition) throw new UnknownNameError('query', name, [...this.#defined.queries.keys()])
    return await answer(this.#parts.side, definition, input, options)
  }

  async status(): ReturnType<Headwater['status']> {
    const { worker } = this.#started('status')
    await worker.refresh()
    const defined = this.#defined.readModels
    const views = await viewStatuses(this.#runtime, worker.versions, { defined, lagMs: (view) => worker.lagMs(view) })
    const projections = await this.#events.statuses(defined)
    const readModels = [...views, ...projections].sort((a, b) => (a.name < b.name ? -1 : 1))
    return { readModels, reactions: await this.#events.reactions.status() }
  }

  readModel(name: string): ReadModelHandle {
    const { worker } = this.#started('readModel')
    const { readModels } = this.#defined
    if (!readModels.has(name)) throw new UnknownNameError('read_model', name, [...readModels])
    if (this.#defined.projections.some(({ readModelName }) => readModelName === name)) return this.projection(name)
    return viewHandle(this.#runtime, worker, name, () => this.#statusOf(name))
  }

  reaction(name: string): ReactionHandle {
    this.#started('reaction')
    const names = this.#defined.reactions.map(({ reactionName }) => reactionName)
    return reactionHandle(this.#events.reactions, names, name)
  }

  projection(name: string): ProjectionHandle {
    this.#started('projection')
    const names = this.#defined.projections.map(({ readModelName }) => readModelName)
    if (!names.includes(name)) throw new UnknownNameError('read_model', name, names)
    return projectionHandle(this.#events.projectionRuntime, this.#events.projections, name, () => this.#statusOf(name))
  }

  async #statusOf(name: string): Promise<ReadModelStatus | undefined> {
    return (await this.status()).readModels.find((status) => status.name === name)
  }

  async settle(): Promise<void> {
    const { worker } = this.#started('settle')
    // Reactions write, and what they write is folded and reacted to again, until nothing moves any more.
    for (;;) {
      const { position } = await this.#events.eventLog.head()
      await this.#events.settle()
      await worker.settle()
      if ((await this.#events.eventLog.head()).position === position) return
    }
  }

  async drop(name: string): Promise<void> {
    const { worker } = this.#started('drop')
    if (this.#defined.readModels.has(name)) {
      throw new UsageError(`drop('${name}'): this application defines it; take its definition out first`)
    }
    await worker.refresh()
    const versions = worker.versions.filter((version) => version.name === name)
    if (versions.length === 0 && !(await this.#events.drop(name))) {
      throw new UnknownNameError('read_model', name, [...new Set(worker.versions.map((version) => version.name))])
    }
    const schema = quote(this.#runtime.schema)
    await this.#runtime.database.query(`drop view if exists ${schema}.${quote(name)}`)
    await removeVersions(
      this.#runtime,
      versions.map(({ id }) => id),
    )
    await this.#runtime.database.query(`delete from ${schema}.read_model where name = $1`, [name])
    await worker.refresh()
  }

  async uninstall(): Promise<void> {
    const { worker } = this.#started('uninstall')
    this.#state = 'stopped'
    await this.#events.stop()
    await worker.stop()
    const { database, schema, clock } = this.#runtime
    await worker.refresh()
    await retry(
      () =>
        database.transaction(async (transaction) => {
          await transaction.query(`set local lock_timeout = '2s'`)
          await transaction.query(`drop schema ${quote(schema)} cascade`)
        }),
      { clock, attempts: 10, baseMs: 200, maxMs: 2000, when: () => true },
    )
    for (const version of worker.versions) await dropStored(this.#runtime, version)
    await database.close()
  }

  #must(role: Role, what: string): void {
    if (this.#roles.has(role)) return
    throw new UsageError(`${what}() was called in a process without the role ${role}; its roles are: ${[...this.#roles].join(', ')}`)
  }

  #started(what: string): { readonly worker: ViewWorker; readonly generation: string } {
    if (this.#state !== 'started' || !this.#worker)
      throw new UsageError(`${what}() was called when the application was ${this.#state}; call it between start() and stop()`)
    return { worker: this.#worker, generation: this.#generation }
  }

  /** A database that is not the one it was: marks of lost transactions are gone with them, so every row is selected again. */
  async #checkGeneration(): Promise<void> {
    const { database, schema, log } = this.#runtime
    const { id, changed } = await readGeneration(database, schema)
    if (this.#generation !== '' && this.#generation === id) return
    this.#generation = id
    if (!changed) return
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
    await this.#checkGeneration()
    await sweepCommands(this.#runtime, this.#options.idempotencyRetentionMs ?? 7 * day)
    await sweepStaged(this.#runtime.database, this.#runtime.schema)
  }

  #command(name: string): Command {
    const { commands } = this.#defined
    const definition = commands.get(name)
    if (!definition) throw new UnknownNameError('command', name, [...commands.keys()])
    return definition
  }

  #readSide(events: EventSide): ReadSide {
    const { database, schema, clock } = this.#runtime
    const views = () => this.#started('query').worker
    const { projections, projectionRuntime } = events
    return {
      database,
      schema,
      clock,
      generation: () => this.#generation,
      locate: (readModel) =>
        locate({ schema, views: views(), projections, runtime: projectionRuntime, stores: this.#runtime.stores }, readModel),
      refresh: async () => {
        await views().refresh()
        if (this.#defined.projections.length > 0) await projections.refresh()
      },
      wake: () => {
        views().wake()
        events.wake()
      },
      progress: this.#progress,
    }
  }
}
