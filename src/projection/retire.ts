import { quote } from '../database/identifier.ts'
import { pauseBefore } from '../internal/retry.ts'
import { messageOf } from './fold.ts'
import type { Projection } from './projection-definition.ts'
import { dropProjection, type ProjectionRuntime, type ProjectionVersion, readProjections } from './registry.ts'
import { storeOf } from './store-of.ts'

/**
 * Drops versions whose rollback window is over, and answers to requests that everybody has seen. A store that fails is tried again, later and later, and
 * holds up no other; versions in a store that no projection of this process names wait for a process that knows it.
 */
export class Retirement {
  readonly #runtime: ProjectionRuntime
  readonly #projections: readonly Projection[]
  readonly #windowMs: number
  readonly #failed = new Map<number, { readonly failures: number; readonly againAt: number }>()
  readonly #left = new Set<number>()
  readonly #dropping = new Map<number, Promise<void>>()

  constructor(runtime: ProjectionRuntime, projections: readonly Projection[], windowMs: number) {
    this.#runtime = runtime
    this.#projections = projections
    this.#windowMs = windowMs
  }

  /** Drops what is due; stores elsewhere are not waited for. */
  async look(): Promise<void> {
    const { database, schema } = this.#runtime
    const due = await this.#due()
    for (const version of due.length > 0 ? await readProjections(database, schema) : []) {
      if (!due.includes(version.id) || this.#dropping.has(version.id)) continue
      const dropping = this.#drop(version).finally(() => this.#dropping.delete(version.id))
      this.#dropping.set(version.id, dropping)
      if (version.store === null) await dropping
    }
    await database.query(
      `delete from ${quote(schema)}.key_request where id in (
         select k.id from ${quote(schema)}.key_request k where k.done_at < clock_timestamp() - interval '1 hour' for update skip locked)`,
    )
  }

  /** Resolves when nothing of it is under way. */
  async ended(): Promise<void> {
    await Promise.all(this.#dropping.values())
  }

  async #due(): Promise<readonly number[]> {
    const { database, schema, clock } = this.#runtime
    const { rows } = await database.query<{ id: number }>(
      `select p.id from ${quote(schema)}.projection p join ${quote(schema)}.read_model r on r.name = p.name
       where p.retired_at < clock_timestamp() - make_interval(secs => $1) and r.active is distinct from p.id`,
      [this.#windowMs / 1000],
    )
    return rows.map(({ id }) => id).filter((id) => clock.now() >= (this.#failed.get(id)?.againAt ?? 0))
  }

  /** Never rejects. */
  async #drop(version: ProjectionVersion): Promise<void> {
    const { log, clock } = this.#runtime
    const { id, name } = version
    const store = storeOf(this.#runtime, this.#projections, version)
    if (!store) return this.#leave(version)
    try {
      await dropProjection(this.#runtime, version, store)
      this.#failed.delete(id)
      log('info', `${name}: version ${version.version} is dropped, its rollback window is over`)
    } catch (error) {
      const failures = (this.#failed.get(id)?.failures ?? 0) + 1
      const tryAgainMs = pauseBefore(failures, { baseMs: 2000, maxMs: 300_000 })
      this.#failed.set(id, { failures, againAt: clock.now() + tryAgainMs })
      log('warn', `${name}: version ${version.version} cannot be dropped from ${store.description} yet: ${messageOf(error)}`, {
        tryAgainMs,
      })
    }
  }

  #leave({ id, name, version, store }: ProjectionVersion): void {
    if (this.#left.has(id)) return
    this.#left.add(id)
    this.#runtime.log(
      'warn',
      `${name}: the rollback window of version ${version} is over, but its rows are in ${store}, which no projection of this process names; a process that does drops them`,
    )
  }
}
