import { quote } from '../database/identifier.ts'
import { unseenMs } from '../internal/unseen.ts'
import type { ProjectionRuntime, ProjectionVersion } from './registry.ts'

/** How far a version is. */
interface Place {
  readonly position: number
  readonly lagMs: number
  /** Whether it has ranges that nobody works on. */
  readonly isFree: boolean
}

/** How far every version in the database is, its lowest range, as last seen. */
export class Places {
  readonly #runtime: ProjectionRuntime
  readonly #pollIntervalMs: number
  #places: ReadonlyMap<number, Place> = new Map()
  readonly #floors = new Map<number, { readonly builtAt: string | null; readonly position: number }>()
  #head = 0
  #seenAt = Number.POSITIVE_INFINITY

  constructor(runtime: ProjectionRuntime, pollIntervalMs: number) {
    this.#runtime = runtime
    this.#pollIntervalMs = pollIntervalMs
  }

  /** The head of the log. */
  get head(): number {
    return this.#head
  }

  position(id: number): number {
    return this.#places.get(id)?.position ?? 0
  }

  /** Up to where a version has been, as far as was seen since it was built. */
  floor(id: number): number {
    return this.#floors.get(id)?.position ?? 0
  }

  /** Milliseconds since the oldest event that it lacks, and since the last look if there could be none since. */
  lagMs(id: number): number {
    return (this.#places.get(id)?.lagMs ?? 0) + unseenMs(this.#runtime.clock.now(), this.#seenAt, this.#pollIntervalMs)
  }

  isFree(id: number): boolean {
    return this.#places.get(id)?.isFree === true
  }

  async look(versions: readonly ProjectionVersion[]): Promise<void> {
    const { database, schema } = this.#runtime
    const s = quote(schema)
    const { rows } = await database.query<{ id: number; position: number; head: number; lag_ms: number | null; free: boolean }>(
      `with h as materialized (select coalesce((select e.position from ${s}.event e order by e.position desc limit 1), 0) as head)
       select p.id, p.position, p.free, h.head,
         (select extract(epoch from clock_timestamp() - e.time) * 1000 from ${s}.event e where e.position = p.position + 1)::float8 as lag_ms
       from h left join (
         select c.projection as id, min(c.position) as position, bool_or(c.owner is null or c.lease_until < clock_timestamp()) as free
         from ${s}.checkpoint c group by 1) p on true`,
      [],
      { prepare: true },
    )
    this.#head = rows[0]?.head ?? 0
    this.#seenAt = this.#runtime.clock.now()
    this.#places = new Map(rows.map(({ id, position, lag_ms, free }) => [id, { position, lagMs: Math.max(0, lag_ms ?? 0), isFree: free }]))
    for (const { id, builtAt } of versions) {
      const known = this.#floors.get(id)
      const position = this.position(id)
      this.#floors.set(id, { builtAt, position: known?.builtAt === builtAt ? Math.max(known.position, position) : position })
    }
  }
}
