import type { Connection } from './connection.ts'

/** How often what a server does in the background is done here. */
export interface HousekeepingOptions {
  /** How much write-ahead log may gather between checkpoints. Default 64 MB. */
  readonly checkpointBytes?: number
  /** How long after a write the next checkpoint comes at the latest. Default 60,000. */
  readonly checkpointIntervalMs?: number
  /** How often to look for tables that need VACUUM and ANALYZE, while something is written. Default 10,000. */
  readonly vacuumIntervalMs?: number
}

/** The rules of PostgreSQL's own autovacuum, with its default thresholds. Without the flush the counts would be those of a minute ago. */
const flushStatistics = 'select pg_stat_force_next_flush()'
const needVacuum = `
  select format('%I.%I', s.schemaname, s.relname)
  from pg_stat_all_tables s join pg_class c on c.oid = s.relid
  where c.relkind in ('r', 'm') and c.relpersistence <> 't'
    and (s.n_dead_tup > 50 + 0.2 * greatest(c.reltuples, 0)
      or s.n_ins_since_vacuum > 1000 + 0.2 * greatest(c.reltuples, 0)
      or s.n_mod_since_analyze > 50 + 0.1 * greatest(c.reltuples, 0))`
const walPosition = `select pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')`

/** Gives the connection to `work` while no transaction is open on it. */
type Between = (work: (connection: Connection) => Promise<void>) => Promise<void>

/**
 * PGlite has neither a checkpointer nor autovacuum: its log would grow for ever, its tables bloat, and the planner never know their
 * sizes. This does both, between the statements of others. It looks once a second, rests while the database does, and keeps no
 * process alive.
 */
export class PgliteHousekeeping {
  readonly #between: Between
  readonly #checkpointBytes: number
  readonly #checkpointIntervalMs: number
  readonly #vacuumIntervalMs: number
  readonly #timer: NodeJS.Timeout
  #used = false
  #own = false
  #round: Promise<void> | undefined
  #checkpointAt = 0
  #checkpointTime = Date.now()
  #vacuumAt = 0
  #vacuumTime = Date.now()

  constructor(between: Between, options: HousekeepingOptions) {
    this.#between = async (work) => {
      this.#own = true
      await between(work).finally(() => (this.#own = false))
    }
    this.#checkpointBytes = options.checkpointBytes ?? 64 * 1024 * 1024
    this.#checkpointIntervalMs = options.checkpointIntervalMs ?? 60_000
    this.#vacuumIntervalMs = options.vacuumIntervalMs ?? 10_000
    this.#timer = setInterval(() => this.#tick(), Math.min(1000, this.#checkpointIntervalMs, this.#vacuumIntervalMs)).unref()
  }

  /** The connection was in use; something may have been written. */
  used(): void {
    if (!this.#own) this.#used = true
  }

  /** Ends after the round under way. */
  async stop(): Promise<void> {
    clearInterval(this.#timer)
    await this.#round
  }

  #tick(): void {
    if (!this.#used || this.#round) return
    this.#used = false
    // A round that fails is tried again with the next; the statements of others tell when the engine itself is broken.
    this.#round = this.#look()
      .catch(() => {})
      .finally(() => (this.#round = undefined))
  }

  async #look(): Promise<void> {
    let position = 0
    await this.#between(async (connection) => {
      position = Number(await firstValue(connection, walPosition))
    })
    const now = Date.now()
    const checkpoint = this.#isDue(position - this.#checkpointAt, now - this.#checkpointTime)
    if (checkpoint) {
      await this.#between(async (connection) => void (await connection.run('checkpoint', [], false)))
      this.#checkpointAt = position
      this.#checkpointTime = now
    }
    const vacuum = position > this.#vacuumAt && now - this.#vacuumTime >= this.#vacuumIntervalMs
    if (vacuum) {
      await this.#vacuum()
      this.#vacuumAt = position
      this.#vacuumTime = now
    }
    // What was written and waits for its time must be looked at again even if nobody comes by.
    if (position > this.#checkpointAt || position > this.#vacuumAt) this.#used = true
  }

  #isDue(bytes: number, ms: number): boolean {
    return bytes >= this.#checkpointBytes || (bytes > 0 && ms >= this.#checkpointIntervalMs)
  }

  /** One table at a time, so that nobody waits longer than for one. */
  async #vacuum(): Promise<void> {
    let names: readonly string[] = []
    await this.#between(async (connection) => {
      await connection.run(flushStatistics, [], false)
      names = (await connection.run(needVacuum, [], false)).rows.map(([name]) => String(name))
    })
    for (const name of names) {
      // A table may be gone by now.
      await this.#between(async (connection) => void (await connection.run(`vacuum (analyze) ${name}`, [], false).catch(() => {})))
    }
  }
}

async function firstValue(connection: Connection, text: string): Promise<unknown> {
  return (await connection.run(text, [], false)).rows[0]?.[0] ?? null
}
