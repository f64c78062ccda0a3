import type { SqlClient } from '../database/database.ts'
import { quote } from '../database/identifier.ts'
import { DatabaseError, IdempotencyKeyReusedError, type Rejection, UsageError } from '../errors.ts'
import type { TokenWrite } from '../message/token.ts'

/** One use of an idempotency key: which command, which key, what input. */
export interface KeyUse {
  readonly schema: string
  readonly name: string
  readonly key: string
  readonly inputHash: string
  /** How long to wait for another transaction that uses the key now. */
  readonly lockTimeoutMs: number
}

/** What the table says of a key. */
export interface CommandRecord {
  readonly state: 'running' | 'done' | 'refused' | 'abandoned'
  readonly inputHash: string
  /** The result, or the details of the refusal. */
  readonly result: unknown
  readonly code: string | null
  readonly write: TokenWrite
}

/** Deleting, taking over and inserting can each overtake us; more often than this in a row they do not. */
const roundsMax = 20
const prepared = { prepare: true } as const

/**
 * Makes the key ours until the transaction ends, and resolves to undefined; or to its record when it has an answer. Must be the first
 * statement of the transaction: another use of the key that is still open is waited for right here, before anything else is locked.
 * @throws {DatabaseError} 55P03 when that takes longer than `lockTimeoutMs`; nothing was done
 * @throws {IdempotencyKeyReusedError} the key stands for another input
 */
export async function claimKey(client: SqlClient, use: KeyUse): Promise<CommandRecord | undefined> {
  return waitingForKey(use, async () => {
    for (let round = 0; round < roundsMax; round++) {
      if (await insertKey(client, use, 'running')) return undefined
      const record = await readRecord(client, use, '')
      if (record && record.state !== 'abandoned') return record
      if (record && (await takeOver(client, use))) return undefined
    }
    throw keyInUse(use)
  })
}

/**
 * Makes sure that no earlier attempt under the key can commit any more, without running anything. Resolves to undefined when that is so
 * and none did, else to what was recorded. An attempt that is still open holds the key's row, so both statements wait for its end.
 * @throws {DatabaseError} 55P03 when that takes longer than `lockTimeoutMs`: then nothing can be told
 */
export async function abandonKey(client: SqlClient, use: KeyUse): Promise<CommandRecord | undefined> {
  return waitingForKey(use, async () => {
    for (let round = 0; round < roundsMax; round++) {
      if (await insertKey(client, use, 'abandoned')) return undefined
      const record = await readRecord(client, use, 'for update')
      if (record) return record.state === 'abandoned' ? undefined : record
    }
    throw keyInUse(use)
  })
}

/** Records what the command resolved to. Resolves to the write for the token; the transaction is the one that claimed the key. */
export function recordDone(client: SqlClient, use: KeyUse, result: unknown): Promise<TokenWrite> {
  return record(client, use, 'done', result, null)
}

/** Records a refusal in place of what the command wrote. */
export function recordRefused(client: SqlClient, use: KeyUse, refusal: Rejection): Promise<TokenWrite> {
  return record(client, use, 'refused', refusal.details, refusal.code)
}

async function insertKey(client: SqlClient, use: KeyUse, state: 'running' | 'abandoned'): Promise<boolean> {
  // lock_timeout is looked at when the wait begins, so setting it within the statement is in time and saves a round trip.
  const { rowCount } = await client.query(
    `with patience as materialized (select set_config('lock_timeout', $5, true))
     insert into ${table(use)} (name, key, input_hash, state) select $1, $2, $3, $4 from patience
     on conflict (name, key) do nothing`,
    [use.name, use.key, use.inputHash, state, `${use.lockTimeoutMs}ms`],
    prepared,
  )
  return rowCount === 1
}

/**
 * What the table says of a key now, or undefined.
 * @throws {IdempotencyKeyReusedError} the key stands for another input
 */
export async function readRecord(client: SqlClient, use: KeyUse, lock: '' | 'for update'): Promise<CommandRecord | undefined> {
  const { rows } = await client.query<{
    state: CommandRecord['state']
    input_hash: string
    result: unknown
    void: boolean
    code: string | null
    xid: string
    fan_out: boolean
  }>(
    `select state, input_hash, result, result is null as void, code, xid::text as xid, fan_out
     from ${table(use)} where name = $1 and key = $2 ${lock}`,
    [use.name, use.key],
    prepared,
  )
  const row = rows[0]
  if (!row) return undefined
  if (row.input_hash !== use.inputHash) throw new IdempotencyKeyReusedError(use.name, use.key)
  const write = { xid: row.xid, fanOut: row.fan_out }
  return { state: row.state, inputHash: row.input_hash, result: row.void ? undefined : row.result, code: row.code, write }
}

async function takeOver(client: SqlClient, use: KeyUse): Promise<boolean> {
  const { rowCount } = await client.query(
    `update ${table(use)} set state = 'running', xid = pg_current_xact_id(), created_at = clock_timestamp()
     where name = $1 and key = $2 and state = 'abandoned'`,
    [use.name, use.key],
    prepared,
  )
  return rowCount === 1
}

async function record(
  client: SqlClient,
  use: KeyUse,
  state: 'done' | 'refused',
  result: unknown,
  code: string | null,
): Promise<TokenWrite> {
  const { rows } = await client.query<{ xid: string; fan_out: boolean }>(
    `update ${table(use)} set state = $3, result = $4::text::jsonb, code = $5,
       fan_out = current_setting('headwater.fan_out', true) is not distinct from '1'
     where name = $1 and key = $2 and state = 'running' and xid = pg_current_xact_id()
     returning xid::text as xid, fan_out`,
    [use.name, use.key, state, result === undefined ? null : JSON.stringify(result), code],
    prepared,
  )
  const row = rows[0]
  if (!row) throw new UsageError(`${use.name}: the command ended its own transaction; leave begin, commit and rollback to Headwater`)
  return { xid: row.xid, fanOut: row.fan_out }
}

async function waitingForKey<T>(use: KeyUse, work: () => Promise<T>): Promise<T> {
  try {
    return await work()
  } catch (error) {
    if (error instanceof DatabaseError && error.sqlState === lockNotAvailable) throw keyInUse(use, error)
    throw error
  }
}

const lockNotAvailable = '55P03'

/** The error for a key that another call holds for too long. */
export function keyInUse(use: KeyUse, cause?: unknown): DatabaseError {
  const message = `${use.name}: a command with the same idempotency key is still being carried out after ${use.lockTimeoutMs} ms; send it again later`
  return new DatabaseError(lockNotAvailable, message, { cause })
}

/** Whether another use of the key was still open when the time to wait for it was over. */
export function isKeyInUse(error: unknown): boolean {
  return error instanceof DatabaseError && error.sqlState === lockNotAvailable
}

function table(use: KeyUse): string {
  return `${quote(use.schema)}.command`
}
