import type { Row, SqlClient } from './database.ts'

/** Where the write-ahead log of a primary is, and whose it is: positions mean something within one cluster and timeline only. */
export interface WalPosition {
  /** In bytes from the beginning of the log. */
  readonly wal: string
  readonly system: string
  readonly timeline: number
}

/** What a replica says of itself. */
export interface ReplayPosition {
  /** False: it takes writes of its own. */
  readonly standby: boolean
  readonly system: string
  readonly timeline: number | null
  /** Everything up to here is visible to whatever begins after this was read. Null: nothing was replayed. */
  readonly replayed: string | null
  /** How long ago the last transaction that it replayed was committed, by the clocks of both servers. */
  readonly sinceCommitMs: number | null
  /** The generation that it knows as the newest. */
  readonly generation: string | null
}

/*
 * The next record begins here, so every record before it ends at or before. At the beginning of a page the two differ by the page's header, in which
 * no record ends: a replica that has replayed everything stands before the header, and would be taken for behind until something else is written.
 * Headers are 24 bytes, of a segment's first page 40, where addresses have 8 bytes.
 */
const positionSql = `
  select (case when not aligned then at when at % segment = 40 then at - 40 when at % page = 24 then at - 24 else at end)::text as wal,
    (select system_identifier::text from pg_catalog.pg_control_system()) as system,
    -- Eight digits in hexadecimal; as a bit string they are an integer.
    ('x' || substr(pg_catalog.pg_walfile_name(lsn), 1, 8))::bit(32)::integer as timeline
  from (select lsn, lsn - '0/0'::pg_catalog.pg_lsn as at, current_setting('wal_block_size')::numeric as page,
      pg_catalog.pg_size_bytes(current_setting('wal_segment_size'))::numeric as segment,
      (select max_data_alignment = 8 from pg_catalog.pg_control_init()) as aligned
    from (select pg_catalog.pg_current_wal_insert_lsn() as lsn offset 0) l) p`

/**
 * Reads where the log of a primary is now. Whatever was committed before is before that: call it after a commit, never in its transaction.
 * (Not what was *written* or *flushed* so far, which a commit need not wait for.)
 */
export async function readWalPosition(client: SqlClient): Promise<WalPosition> {
  const { rows } = await client.query<WalPosition>(positionSql, [], { prepare: true })
  const position = rows[0]
  if (!position) throw new Error('the server did not say where its log is')
  return position
}

/** The statement that asks a replica who it is and how far. `schema` is quoted; undefined where it is not there. See {@link asReplayPosition}. */
export function replaySql(schema: string | undefined): string {
  const generation = schema && `select substr(replace(id::text, '-', ''), 1, 12) from ${schema}.generation order by created_at desc limit 1`
  // The checkpoint's timeline is old for a while after a failover; which is being received only some roles may see.
  return `select pg_catalog.pg_is_in_recovery() as standby,
    (select system_identifier::text from pg_catalog.pg_control_system()) as system,
    greatest((select timeline_id from pg_catalog.pg_control_checkpoint()),
      (select min_recovery_end_timeline from pg_catalog.pg_control_recovery()),
      (select received_tli from pg_catalog.pg_stat_wal_receiver)) as timeline,
    (pg_catalog.pg_last_wal_replay_lsn() - '0/0'::pg_catalog.pg_lsn)::text as replayed,
    (extract(epoch from clock_timestamp() - pg_catalog.pg_last_xact_replay_timestamp()) * 1000)::float8 as "sinceCommitMs",
    (${generation ?? 'null'}) as generation`
}

/** The row of {@link replaySql}. */
export function asReplayPosition(row: Row): ReplayPosition {
  return row as unknown as ReplayPosition
}

/**
 * Reads the position for many callers at once: one statement at a time, and whoever asks while one is under way shares the next, since the one under
 * way may have been read before what it has to cover.
 */
export class WalPositions {
  readonly #client: SqlClient
  #running: Promise<unknown> = Promise.resolve()
  #next: Promise<WalPosition> | undefined

  constructor(client: SqlClient) {
    this.#client = client
  }

  /** A position after everything that was committed before the call. */
  now(): Promise<WalPosition> {
    this.#next ??= this.#running.then(() => {
      const reading = readWalPosition(this.#client)
      this.#next = undefined
      this.#running = reading.catch(() => {})
      return reading
    })
    return this.#next
  }
}
