import type { Database, SqlClient, Transaction } from '../database/database.ts'
import { DatabaseUnavailableError, OutcomeUnknownError } from '../errors.ts'
import { pauseBefore } from '../internal/retry.ts'
import type { TokenWrite } from '../message/token.ts'
import { type Attempted, attempt, didNotHappen } from './attempt.ts'
import type { CommandRuntime } from './command-runtime.ts'

/** What a transaction without an idempotency key resolved to, and its write; undefined when it wrote nothing. */
export interface Unkeyed<T> {
  readonly value: T
  readonly write: TokenWrite | undefined
}

/**
 * Runs `work` in one transaction that no idempotency key guards. A commit whose answer was lost is never run a second time: the server is asked
 * how the transaction ended, as long as it is surely the same server that gave the transaction its id.
 * @throws {DatabaseUnavailableError} during `statement`: it surely did not happen
 * @throws {OutcomeUnknownError} that cannot be told
 */
export async function commitUnkeyed<T>(
  runtime: CommandRuntime,
  name: string,
  work: (transaction: Transaction) => Promise<T>,
): Promise<Unkeyed<T>> {
  const incarnation = await incarnationOf(runtime.database)
  try {
    const attempted = await attempt(runtime, name, async (transaction) => ({
      value: await work(transaction),
      write: await seal(transaction),
    }))
    return attempted.lost ? await askServer(runtime, name, attempted, attempted.lost, incarnation) : attempted.value
  } catch (error) {
    if (error instanceof DatabaseUnavailableError) incarnations.delete(runtime.database)
    throw error
  }
}

/** The last statement before COMMIT. It also fails when a statement's error was swallowed, where COMMIT would quietly roll back. */
async function seal(client: SqlClient): Promise<TokenWrite | undefined> {
  const { rows } = await client.query<{ xid: string | null; fan_out: string | null }>(
    `select pg_current_xact_id_if_assigned()::text as xid, current_setting('headwater.fan_out', true) as fan_out`,
    [],
    { prepare: true },
  )
  const xid = rows[0]?.xid
  return xid ? { xid, fanOut: rows[0]?.fan_out === '1' } : undefined
}

/**
 * A transaction id means something only on the server that gave it, and only until that crashes: ids whose traces had not reached the disk
 * are given out again. A crash throws the statistics away, so their reset time tells it; a restore or failover changes the identifier, the timeline
 * or the start time.
 */
const incarnationSql = `select concat_ws('/', (select system_identifier from pg_control_system()), substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8),
  extract(epoch from pg_postmaster_start_time()), (select extract(epoch from stats_reset) from pg_stat_bgwriter)) as incarnation`

const incarnations = new WeakMap<Database, Promise<string | undefined>>()

/** Which server this is, remembered until a connection is lost; undefined where it may not be asked. */
function incarnationOf(database: Database): Promise<string | undefined> {
  const known = incarnations.get(database)
  if (known) return known
  const asked = readIncarnation(database).catch((error) => {
    if (error instanceof DatabaseUnavailableError) incarnations.delete(database)
    return undefined
  })
  incarnations.set(database, asked)
  return asked
}

async function readIncarnation(database: Database): Promise<string | undefined> {
  return (await database.query<{ incarnation: string }>(incarnationSql)).rows[0]?.incarnation
}

const asksMax = 24

/** Asks until the transaction has ended: at most about fifteen seconds. */
async function askServer<T>(
  runtime: CommandRuntime,
  name: string,
  { value: unkeyed }: Attempted<Unkeyed<T>>,
  lost: DatabaseUnavailableError,
  incarnation: string | undefined,
): Promise<Unkeyed<T>> {
  incarnations.delete(runtime.database)
  const { write } = unkeyed
  if (!write) return unkeyed
  for (let ask = 1; incarnation !== undefined && ask <= asksMax; ask++) {
    const status = await transactionStatus(runtime.database, write.xid, incarnation)
    runtime.log('warn', 'a connection was lost during commit; the server was asked what became of it', {
      command: name,
      xid: write.xid,
      status,
    })
    if (status === 'committed') return unkeyed
    if (status === 'aborted') throw didNotHappen(name, lost)
    if (status === 'unknown') break
    if (ask < asksMax) await runtime.clock.sleep(pauseBefore(ask, { baseMs: 20, maxMs: 1000 }))
  }
  throw new OutcomeUnknownError(name, { cause: lost })
}

type Status = 'committed' | 'aborted' | 'in progress' | 'unreachable' | 'unknown'

async function transactionStatus(database: Database, xid: string, incarnation: string): Promise<Status> {
  try {
    if ((await readIncarnation(database)) !== incarnation) return 'unknown'
    const { rows } = await database.query<{ status: Status | null }>('select pg_xact_status($1::text::xid8) as status', [xid])
    // Asked again: the server could have been another one by the time it answered.
    return (await readIncarnation(database)) === incarnation ? (rows[0]?.status ?? 'unknown') : 'unknown'
  } catch (error) {
    return error instanceof DatabaseUnavailableError ? 'unreachable' : 'unknown'
  }
}
