import { quote } from '../database/identifier.ts'
import type { ViewRuntime } from './registry.ts'

/** How a view in another store stands to this process. */
export interface Share {
  readonly view: number
  readonly mine: boolean
  /** Nobody has it, or its owner fell silent. */
  readonly free: boolean
  /** Nobody took it for a while, though somebody could have. */
  readonly abandoned: boolean
  /** How many views each other living process has that can work on this one. */
  readonly others: readonly number[]
}

const sayMs = 1000

/**
 * Which views in other stores this process works on: each has one owner at a time, by a lease of three seconds, and keeps it; who has least takes what is
 * free, and who has two more than another gives one up. This only decides who tries: what makes a late owner harmless is the store's comparison.
 */
export class StoreShare {
  readonly #runtime: ViewRuntime
  readonly #who: string
  #mine: ReadonlySet<number> = new Set()
  #saidAt = Number.NEGATIVE_INFINITY
  #said = ''
  #looking: Promise<void> | undefined

  constructor(runtime: ViewRuntime, who: string) {
    this.#runtime = runtime
    this.#who = who
  }

  /** Whether it has a view, as last seen. */
  has(view: number): boolean {
    return this.#mine.has(view)
  }

  /**
   * Keeps, takes and gives. `able`: what it can work on; `idle`: those of them on which it is not at work this moment; `settled`: those that may
   * change hands.
   */
  look(able: readonly number[], idle: readonly number[], settled: readonly number[]): Promise<void> {
    this.#looking ??= this.#look(able, idle, settled).finally(() => {
      this.#looking = undefined
    })
    return this.#looking
  }

  async #look(able: readonly number[], idle: readonly number[], settled: readonly number[]): Promise<void> {
    const { database, schema, clock } = this.#runtime
    const says = able.join() !== this.#said || clock.now() - this.#saidAt >= sayMs
    if (says) this.#saidAt = clock.now()
    const { rows } = await database.query<Share>(
      `select view, mine, free, abandoned, others from ${quote(schema)}.store_shares($1::uuid, $2::integer[], $3::integer[], $4)`,
      [this.#who, able, idle, says],
      { prepare: true },
    )
    this.#said = able.join()
    const mine = new Set(rows.filter((share) => share.mine).map(({ view }) => view))
    for (const share of rows) {
      if (share.mine || !share.free || !idle.includes(share.view)) continue
      if (isForMe(share, mine.size, able.includes(share.view)) && (await this.#take(share.view))) mine.add(share.view)
    }
    const surplus = rows.find(({ view, others }) => mine.has(view) && settled.includes(view) && Math.min(...others) <= mine.size - 2)
    if (surplus) {
      mine.delete(surplus.view)
      await this.#give([surplus.view])
    }
    this.#mine = mine
  }

  /** Gives everything up, so that others take it at once. */
  async end(): Promise<void> {
    const { database, schema } = this.#runtime
    this.#mine = new Set()
    if (!Number.isFinite(this.#saidAt)) return
    await database.query(`delete from ${quote(schema)}.view_worker where id = $1::uuid`, [this.#who])
    await database.query(`update ${quote(schema)}.view_store set owner = null where owner = $1::uuid`, [this.#who])
  }

  async #take(view: number): Promise<boolean> {
    const { database, schema } = this.#runtime
    const { rows } = await database.query<{ taken: boolean }>(
      `select ${quote(schema)}.store_take($1, $2::uuid) as taken`,
      [view, this.#who],
      { prepare: true },
    )
    return rows[0]?.taken === true
  }

  async #give(views: readonly number[]): Promise<void> {
    const { database, schema } = this.#runtime
    await database.query(
      `update ${quote(schema)}.view_store set owner = null, lease_until = clock_timestamp() where view = any ($1::integer[]) and owner = $2::uuid`,
      [views, this.#who],
    )
  }
}

/** `able`: not while its store fails this process alone, and somebody else might do better. */
function isForMe({ others, abandoned }: Share, held: number, able: boolean): boolean {
  if (others.length === 0 || abandoned) return true
  return able && held <= Math.min(...others)
}
