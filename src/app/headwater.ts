import { refuseInsideCommand } from '../command/command-scope.ts'
import { executeCommand } from '../command/execute-command.ts'
import { executeMany } from '../command/execute-many.ts'
import { sweepCommands } from '../command/sweep-commands.ts'
import { quote } from '../database/identifier.ts'
import { migrate } from '../database/migrate.ts'
import { DatabaseUnavailableError, DefinitionError, NotReadyError, UnknownNameError, UsageError } from '../errors.ts'
import { systemClock } from '../internal/clock.ts'
import { consoleLog } from '../internal/log.ts'
import { retry } from '../internal/retry.ts'
import { checkDefinitions, install, removeVersions } from '../materialized-view/install.ts'
import type { MaterializedView } from '../materialized-view/materialized-view.ts'
import type { ViewRuntime, ViewVersion } from '../materialized-view/registry.ts'
import { viewStatuses } from '../materialized-view/view-status.ts'
import { ViewWorker } from '../materialized-view/worker.ts'
import type { Command } from '../message/command.ts'
import type { Query } from '../message/query.ts'
import { answer, type Located, type ReadSide } from '../query/answer.ts'
import type { ReadModelStatus } from '../read-model/read-model.ts'
import type { CommandsBy, Definitions, Headwater, HeadwaterOptions, QueriesBy, ReadModelHandle } from './app.ts'
import { readGeneration } from './generation.ts'
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

class Application {
  readonly #options: HeadwaterOptions<Definitions, Definitions>
  readonly #runtime: ViewRuntime
  readonly #commands: ReadonlyMap<string, Command>
  readonly #queries: ReadonlyMap<string, Query>
  readonly #views: readonly MaterializedView[]
  readonly #side: ReadSide
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
    }
    if (!/^[a-z][a-z0-9_]{0,39}$/.test(this.#runtime.schema)) {
      throw new DefinitionError(
        `schema ${JSON.stringify(this.#runtime.schema)}: a name has 1 to 40 of a-z, 0-9 and _, and begins with a letter`,
      )
    }
    this.#commands = byName<Command>('command', options.commands ?? {}, 'commandName')
    this.#queries = byName<Query>('query', options.queries ?? {}, 'queryName')
    this.#views = [...byName<MaterializedView>('read model', options.readModels ?? {}, 'readModelName').values()]
    checkDefinitions(this.#views)
    this.#checkReads()
    this.#side = this.#readSide()
  }

  async start(): Promise<void> {
    if (this.#state !== 'new') throw new UsageError(`start() was called when the application was ${this.#state}`)
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
    for (const view of this.#views) await install(this.#runtime, view)
    this.#worker = new ViewWorker(this.#runtime, {
      rows: new Map(this.#views.map((view) => [view.readModelName, view['~view'].row])),
      pollIntervalMs: this.#options.pollIntervalMs ?? 100,
      rollbackWindowMs: this.#options.rollbackWindowMs ?? day,
      onMaintenance: () => this.#maintain(),
    })
    await this.#worker.start()
    this.#state = 'started'
  }

  async stop(): Promise<void> {
    if (this.#state === 'stopped') return
    this.#state = 'stopped'
    await this.#worker?.stop()
    await this.#runtime.database.close()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop()
  }

  async execute(name: string, input: unknown, options: Parameters<Headwater['execute']>[2] = {}): Promise<unknown> {
    const { generation } = this.#started('execute')
    const definition = this.#commands.get(name)
    if (!definition) throw new UnknownNameError('command', name, [...this.#commands.keys()])
    const after = checkedToken(generation, options.after)
    const outcome = await executeCommand(this.#runtime, definition, input, options)
    this.#worker?.wake()
    const token = await mergedToken(this.#runtime, generation, outcome.write ? [outcome.write] : [], after)
    return { result: outcome.result, token, replayed: outcome.replayed }
  }

  async executeMany(name: string, inputs: Iterable<unknown>, options: Parameters<Headwater['executeMany']>[2] = {}): Promise<unknown> {
    const { generation } = this.#started('executeMany')
    const definition = this.#commands.get(name)
    if (!definition) throw new UnknownNameError('command', name, [...this.#commands.keys()])
    const { executed, writes } = await executeMany(this.#runtime, definition, inputs, options)
    this.#worker?.wake()
    return { executed, token: await mergedToken(this.#runtime, generation, writes, undefined) }
  }

  async query(name: string, input: unknown, options: Parameters<Headwater['query']>[2] = {}): Promise<unknown> {
    this.#started('query')
    refuseInsideCommand(`query(${JSON.stringify(name)})`)
    const definition = this.#queries.get(name)
    if (!definition) throw new UnknownNameError('query', name, [...this.#queries.keys()])
    return await answer(this.#side, definition, input, options)
  }

  async status(): Promise<{ readonly readModels: readonly ReadModelStatus[] }> {
    const { worker } = this.#started('status')
    await worker.refresh()
    const defined = new Set(this.#views.map(({ readModelName }) => readModelName))
    return { readModels: await viewStatuses(this.#runtime, worker.versions, { defined, lagMs: (view) => worker.lagMs(view) }) }
  }

  readModel(name: string): ReadModelHandle {
    const { worker } = this.#started('readModel')
    if (!this.#views.some(({ readModelName }) => readModelName === name)) {
      throw new UnknownNameError(
        'read_model',
        name,
        this.#views.map(({ readModelName }) => readModelName),
      )
    }
    return viewHandle(this.#runtime, worker, name, async () => (await this.status()).readModels.find((status) => status.name === name))
  }

  async settle(): Promise<void> {
    await this.#started('settle').worker.settle()
  }

  async drop(name: string): Promise<void> {
    const { worker } = this.#started('drop')
    if (this.#views.some(({ readModelName }) => readModelName === name)) {
      throw new UsageError(`drop('${name}'): this application defines it; take its definition out first`)
    }
    await worker.refresh()
    const versions = worker.versions.filter((version) => version.name === name)
    if (versions.length === 0) throw new UnknownNameError('read_model', name, [...new Set(worker.versions.map((version) => version.name))])
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
    await worker.stop()
    const { database, schema, clock } = this.#runtime
    await retry(
      () =>
        database.transaction(async (transaction) => {
          await transaction.query(`set local lock_timeout = '2s'`)
          await transaction.query(`drop schema ${quote(schema)} cascade`)
        }),
      { clock, attempts: 10, baseMs: 200, maxMs: 2000, when: () => true },
    )
    await database.close()
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
  }

  #readSide(): ReadSide {
    const { database, schema, clock } = this.#runtime
    const worker = () => this.#started('query').worker
    return {
      database,
      schema,
      clock,
      generation: () => this.#generation,
      locate: (readModel) => located(schema, worker(), readModel),
      refresh: () => worker().refresh(),
      wake: () => worker().wake(),
      get progress() {
        return worker().progress
      },
    }
  }

  #checkReads(): void {
    const defined = new Set(this.#views.map(({ readModelName }) => readModelName))
    for (const definition of this.#queries.values()) {
      for (const { readModelName } of Object.values(definition['~reads'])) {
        if (defined.has(readModelName)) continue
        throw new DefinitionError(
          `query ${definition.queryName}: it reads ${readModelName}, which is not among the application's read models; add it to "readModels"`,
        )
      }
    }
  }
}

function located(schema: string, worker: ViewWorker, readModel: string): Located {
  const own = worker.versions.filter(({ name }) => name === readModel)
  const active = own.find((version) => version.active)
  if (!active) {
    const stopped = own.find(({ state }) => state === 'stopped')
    if (stopped) throw new NotReadyError('stopped', readModel, `it stopped before its first build was finished: ${stopped.error ?? ''}`)
    throw new NotReadyError('building', readModel, 'its first build is under way')
  }
  return { stored: storedTable(schema, active), state: active.state === 'stopped' ? 'stopped' : 'live', lagMs: worker.lagMs(active.id) }
}

const storedTables = new WeakMap<ViewVersion, Located['stored']>()

function storedTable(schema: string, version: ViewVersion): Located['stored'] {
  const known = storedTables.get(version)
  if (known) return known
  const { columns, key, indexes } = version.shape
  const made = { schema, table: version.table, columns, key, indexes, view: version.id }
  storedTables.set(version, made)
  return made
}

/** Definitions by their own names. What is no definition of this kind is passed over, so that whole modules can be given. */
function byName<D>(kind: string, definitions: Definitions, property: string): ReadonlyMap<string, D> {
  const found = new Map<string, D>()
  for (const definition of Object.values(definitions)) {
    if ((typeof definition !== 'object' && typeof definition !== 'function') || definition === null || !(property in definition)) continue
    const name = String((definition as Record<string, unknown>)[property])
    const other = found.get(name)
    if (other !== undefined && other !== definition)
      throw new DefinitionError(`two definitions bear the name ${name}: give each ${kind} a name of its own`)
    found.set(name, definition as D)
  }
  return found
}
