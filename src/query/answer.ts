import type { Database, SqlClient } from '../database/database.ts'
import { quote } from '../database/identifier.ts'
import { type Sql, sqlOn } from '../database/sql.ts'
import { BehindError, DatabaseError, NotReadyError, ParkedError, TokenError, UsageError } from '../errors.ts'
import type { Clock } from '../internal/clock.ts'
import type { Wake } from '../internal/wake.ts'
import type { Answer, Query, QueryOptions } from '../message/query.ts'
import { parse } from '../message/schema.ts'
import { decodeToken, type Token } from '../message/token.ts'
import { type StoredTable, tableReader } from '../read-model/table-reader.ts'

/** A read model as a query finds it: the version that is live now. */
export interface Located {
  readonly stored: StoredTable
  readonly state: 'live' | 'stopped'
  readonly lagMs: number
}

/** What answering needs of the read side; `app/` fills it. */
export interface ReadSide {
  readonly database: Database
  readonly schema: string
  readonly clock: Clock
  /** The database's generation, which a token must share. */
  readonly generation: () => string
  /** @throws {NotReadyError} `building` */
  readonly locate: (readModel: string) => Located
  /** Looks again which versions are live. */
  readonly refresh: () => Promise<void>
  /** Tells the workers that somebody waits. */
  readonly wake: () => void
  /** Rings when a read model got further. */
  readonly progress: Wake
}

interface Wanted {
  readonly token: Token | undefined
  readonly upTo: string | undefined
  readonly maxStalenessMs: number | undefined
}

interface Outstanding {
  readonly view: number
  readonly state: string
  readonly lacking: number
  readonly parked: boolean
  readonly ahead: boolean
}

const waitMaxMs = 30_000

/** Answers a query: validates its input, waits for the freshness that was asked for, and runs it on one snapshot that has it. */
export async function answer(side: ReadSide, query: Query, input: unknown, options: QueryOptions = {}): Promise<Answer<unknown>> {
  checkOptions(options)
  const parsed = await parse(query.queryName, query.input, input)
  const token = options.after === undefined ? undefined : decodeToken(options.after)
  if (token && token.generation !== side.generation()) {
    throw new TokenError('other_generation', 'the token was made before the database was restored or replaced; drop it and read afresh')
  }
  const asked = { query, parsed, options }
  if (!token && !options.latest && options.maxStalenessMs === undefined) return await readAnyhow(side, asked)
  const upTo = options.latest ? await newestTransaction(side) : token?.upTo
  return await readFresh(side, asked, {
    token,
    upTo: options.latest && token?.upTo ? larger(upTo, token.upTo) : upTo,
    maxStalenessMs: options.maxStalenessMs,
  })
}

interface Asked {
  readonly query: Query
  readonly parsed: unknown
  readonly options: QueryOptions
}

function checkOptions({ after, latest, maxStalenessMs, waitMs }: QueryOptions): void {
  if (after !== undefined && typeof after !== 'string') throw new UsageError('"after" takes a token, the string that a command returned')
  if (waitMs !== undefined && !(waitMs >= 0 && waitMs <= waitMaxMs)) throw new UsageError(`"waitMs" is a number from 0 to ${waitMaxMs}`)
  if (maxStalenessMs !== undefined && !(maxStalenessMs >= 0))
    throw new UsageError('"maxStalenessMs" is a number of milliseconds, 0 or more')
  if (latest && maxStalenessMs !== undefined) throw new UsageError('"latest" and "maxStalenessMs" contradict each other: give one')
}

/** Whatever is there. A version that was dropped under our feet is looked up again, once. */
async function readAnyhow(side: ReadSide, asked: Asked): Promise<Answer<unknown>> {
  try {
    return await run(side, asked, side.database, 'none')
  } catch (error) {
    if (!(error instanceof DatabaseError) || error.sqlState !== '42P01') throw error
    await side.refresh()
    return await run(side, asked, side.database, 'none')
  }
}

/** Reads in one snapshot in which everything wanted is there, or waits for it. */
async function readFresh(side: ReadSide, asked: Asked, wanted: Wanted): Promise<Answer<unknown>> {
  const deadline = side.clock.now() + (asked.options.waitMs ?? 2000)
  for (let round = 0; ; round++) {
    const found = await side.database.transaction(
      async (transaction) => {
        const lacking = await lack(side, asked, wanted, transaction)
        return lacking === undefined ? { answer: await run(side, asked, transaction, 'strict') } : { lacking }
      },
      { isolation: 'repeatable read', readOnly: true },
    )
    if (found.answer) return found.answer
    const left = deadline - side.clock.now()
    if (left <= 0) {
      if (asked.options.allowStale) return await readAnyhow(side, asked)
      throw found.lacking
    }
    // Whoever wrote has woken the workers already; this is for writers that know nothing of Headwater.
    if (round % 5 === 0) side.wake()
    await side.progress.wait(side.clock, Math.min(left, round < 3 ? 3 : 20))
    if (round % 50 === 49) await side.refresh()
  }
}

/** Why this snapshot is not fresh enough yet, or undefined when it is. What no waiting can mend is thrown. */
async function lack(side: ReadSide, asked: Asked, wanted: Wanted, client: SqlClient): Promise<BehindError | undefined> {
  const located = new Map(
    Object.values(asked.query['~reads']).map(({ readModelName }) => [side.locate(readModelName).stored.view, readModelName]),
  )
  const views = [...located.keys()]
  const writes = wanted.token?.writes ?? []
  const { rows } = await client.query<Outstanding>(
    `select view, state, lacking, parked, ahead from ${quote(side.schema)}.outstanding($1::int[], $2::xid8[], $3::boolean[], $4::xid8)`,
    [views, writes.map(({ xid }) => xid), writes.map(({ fanOut }) => fanOut), wanted.upTo ?? null],
    { prepare: true },
  )
  const want = writes.length + (wanted.upTo === undefined ? 0 : 1)
  let lacking = 0
  for (const view of views) {
    const name = located.get(view) ?? ''
    const found = rows.find((row) => row.view === view)
    if (found?.ahead) throw new TokenError('ahead', 'the token names a write that this database has never seen')
    if (found?.state === 'building') throw new NotReadyError('building', name, 'every row is being selected again')
    if (!found || (found.state !== 'live' && found.state !== 'previous')) {
      throw new NotReadyError('stopped', name, 'it is stopped and cannot be brought up to what was asked for')
    }
    if (found.parked) throw new ParkedError(name, 'of the write that was asked for', 'its row could not be computed')
    lacking = Math.max(lacking, found.lacking)
  }
  if (lacking === 0 && wanted.maxStalenessMs !== undefined && (await stalenessMs(side, views, client)) > wanted.maxStalenessMs) {
    return new BehindError([...located.values()], 0, 1)
  }
  return lacking === 0 ? undefined : new BehindError([...located.values()], want - lacking, want)
}

async function stalenessMs(side: ReadSide, views: readonly number[], client: SqlClient): Promise<number> {
  const { rows } = await client.query<{ lag: number }>(
    `select coalesce(max(lag_ms), 0) as lag from ${quote(side.schema)}.pending() where view = any ($1::int[])`,
    [views],
    { prepare: true },
  )
  return rows[0]?.lag ?? 0
}

/** The newest transaction that can have committed by now. */
async function newestTransaction(side: ReadSide): Promise<string> {
  const { rows } = await side.database.query<{ xid: string }>(
    'select (pg_snapshot_xmax(pg_current_snapshot())::text::numeric - 1)::text as xid',
    [],
    { prepare: true },
  )
  return rows[0]?.xid ?? '0'
}

function larger(a: string | undefined, b: string): string {
  return a === undefined || BigInt(a) < BigInt(b) ? b : a
}

async function run(
  side: ReadSide,
  { query, parsed, options }: Asked,
  client: SqlClient,
  check: 'none' | 'strict',
): Promise<Answer<unknown>> {
  let lagMs = 0
  const readers: Record<string, unknown> = {}
  for (const [alias, { readModelName }] of Object.entries(query['~reads'])) {
    lagMs = Math.max(lagMs, side.locate(readModelName).lagMs)
    readers[alias] = tableReader(client, { name: readModelName, stored: () => side.locate(readModelName).stored, check })
  }
  const sql: Sql = sqlOn(client)
  const result = await query['~execute'](parsed as never, { ...readers, sql, context: options.context ?? {} } as never)
  return { result, lagMs: Math.round(lagMs) }
}
