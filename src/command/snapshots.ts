import { plainData } from '../aggregate/plain-data.ts'
import type { Database } from '../database/database.ts'
import { quote } from '../database/identifier.ts'
import type { Log } from '../internal/log.ts'
import type { EventModel } from '../message/command.ts'

interface Snapshot {
  readonly model: EventModel
  readonly stream: string
  readonly version: number
  readonly state: unknown
}

const batchMax = 100
const waitingMax = 1000

/**
 * States of long streams, in a table. They save reading, and nothing depends on them: they are written beside the commands' path as far as that keeps up, and
 * one that other code made, or that is ahead of its stream, is not used.
 */
export class Snapshots {
  readonly #database: Database
  readonly #table: string
  readonly #log: Log
  readonly #waiting = new Map<string, Snapshot>()
  readonly #refused = new Set<string>()
  #writing: Promise<void> | undefined

  constructor(runtime: { readonly database: Database; readonly schema: string; readonly log: Log }) {
    this.#database = runtime.database
    this.#table = `${quote(runtime.schema)}.snapshot`
    this.#log = runtime.log
  }

  /** The newest snapshot of a stream that this code made, or undefined. */
  async read(model: EventModel, stream: string): Promise<{ readonly state: unknown; readonly version: number } | undefined> {
    const { rows } = await this.#database.query<{ version: number; state: unknown }>(
      `select version, state from ${this.#table} where aggregate = $1 and stream = $2 and fingerprint = $3`,
      [model.aggregateName, stream, model['~fingerprint']],
      { prepare: true },
    )
    return rows[0]
  }

  /** Has a snapshot written soon, or never: there is no promise to wait for, and what goes wrong is only logged. */
  write(snapshot: Snapshot): void {
    if (this.#waiting.size >= waitingMax || this.#refused.has(snapshot.model.aggregateName)) return
    this.#waiting.set(`${snapshot.model.aggregateName}-${snapshot.stream}`, snapshot)
    this.#writing ??= this.#writeAll().finally(() => {
      this.#writing = undefined
    })
  }

  /** Resolves when nothing waits to be written. */
  async settled(): Promise<void> {
    while (this.#writing) await this.#writing
  }

  async #writeAll(): Promise<void> {
    // The command that asked goes first.
    await new Promise(setImmediate)
    while (this.#waiting.size > 0) {
      const batch = [...this.#waiting].slice(0, batchMax)
      for (const [key] of batch) this.#waiting.delete(key)
      try {
        await this.#insert(batch.flatMap(([, snapshot]) => this.#columns(snapshot)))
      } catch (error) {
        this.#log('warn', 'snapshots were not written; streams are read from further back until others are', {
          snapshots: batch.length,
          error: String(error),
        })
      }
    }
  }

  /** The values of a row; none when the state is not plain JSON, which is said once. */
  #columns({ model, stream, version, state }: Snapshot): readonly Columns[] {
    const plain = plainData(state)
    if (!plain.fault) return [[model.aggregateName, stream, version, model['~fingerprint'], JSON.stringify(plain.value)]]
    if (this.#refused.has(model.aggregateName)) return []
    this.#refused.add(model.aggregateName)
    const place = ['state', ...plain.fault.path].join('.')
    const message = `aggregate ${model.aggregateName}: no snapshots: ${place} ${plain.fault.message}; or take "snapshot" out of its definition`
    this.#log('error', message, { stream, version })
    return []
  }

  async #insert(rows: readonly Columns[]): Promise<void> {
    if (rows.length === 0) return
    // In one order, so that two processes cannot wait for each other.
    const sorted = [...rows].sort(([a, x], [b, y]) => (`${a}-${x}` < `${b}-${y}` ? -1 : 1))
    await this.#database.query(
      `insert into ${this.#table} as had (aggregate, stream, version, fingerprint, state)
       select aggregate, stream, version, fingerprint, state::json
       from unnest($1::text[], $2::text[], $3::int[], $4::text[], $5::text[]) as new (aggregate, stream, version, fingerprint, state)
       on conflict (aggregate, stream) do update
         set version = excluded.version, fingerprint = excluded.fingerprint, state = excluded.state, taken_at = excluded.taken_at
         where had.version < excluded.version or had.fingerprint <> excluded.fingerprint`,
      [0, 1, 2, 3, 4].map((column) => sorted.map((row) => row[column])),
      { prepare: true },
    )
  }
}

type Columns = readonly [aggregate: string, stream: string, version: number, fingerprint: string, state: string]
