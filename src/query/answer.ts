import type { Database, SqlClient } from '../database/database.ts'
import { quote } from '../database/identifier.ts'
import { type Sql, sqlOn } from '../database/sql.ts'
import { BehindError, NotReadyError, ParkedError, ReplicaBehindError, TokenError, UsageError } from '../errors.ts'
import type { Clock } from '../internal/clock.ts'
import type { Wake } from '../internal/wake.ts'
import type { Answer, Query, QueryOptions } from '../message/query.ts'
import { parse } from '../message/schema.ts'
import { decodeToken, type Token } from '../message/token.ts'
import type { Reader } from '../read-model/read-model.ts'
import { type LiveVersions, onNewerVersions } from './live-versions.ts'
import type { ReplicaSet } from './replica-set.ts'

/** A read model as a query finds it: the version that is live now. */
export interface Located {
  readonly state: 'live' | 'stopped'
  readonly lagMs: number
  /**
   * What tells how fresh it is: the marks of a view, or the checkpoint of a projection; both are in the write database. `elsewhere`: the checkpoint is
   * also with the rows, in another store.
   */
  readonly kept: { readonly by: 'marks' | 'checkpoint'; readonly id: number; readonly elsewhere: boolean }
  /**
   * A reader that runs on `client` where the rows are in the write database. `strict`: a parked key is an error. `atLeast`: rows in another
   * store from before that position are a {@link BehindError}.
   */
  readonly reader: (client: SqlClient, options: ReadDemand) => Reader
}

/** What an answer demands of the rows it is made of. */
export interface ReadDemand {
  readonly check: 'none' | 'strict'
  readonly atLeast: number
}

/** What answering needs of the read side; `app/` fills it. */
export interface ReadSide extends LiveVersions {
  readonly database: Database
  /** Copies of it that may be read instead. */
  readonly replicas: ReplicaSet | undefined
  readonly schema: string
  readonly clock: Clock
  /** The database's generation, which a token must share. */
  readonly generation: () => string
  /** @throws {NotReadyError} `building` */
  readonly locate: (readModel: string) => Located
  /** Tells the workers that somebody waits. */
  readonly wake: () => void
  /** Rings when a read model got further. */
  readonly progress: Wake
}

interface Wanted {
  readonly token: Token | undefined
  readonly upTo: string | undefined
  /** In the log. */
  readonly position: number
  readonly maxStalenessMs: number | undefined
  /** For replicas: the WAL position of the primary that holds the token's writes, and with `latest` everything. */
  readonly wal: string
}

interface Reached {
  readonly id: number
  readonly state: string
  readonly position: number
  readonly lag: number
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
  const isUndemanding = !token && !options.latest && options.maxStalenessMs === undefined
  const work = () => (isUndemanding ? readAnyhow(side, asked) : readAsDemanded(side, asked, token))
  const seen = side.seen()
  try {
    return await work()
  } catch (error) {
    return await onNewerVersions(side, query, { seen, error }, work)
  }
}

async function readAsDemanded(side: ReadSide, asked: Asked, token: Token | undefined): Promise<Answer<unknown>> {
  const { options } = asked
  const newest = options.latest ? await newestWrite(side) : { upTo: token?.upTo, position: 0 }
  // Read after the newest write was. A token that does not know its own names writes that are committed by now.
  const unknown = options.latest || (token !== undefined && token.wal === undefined)
  const wal = (unknown ? await side.replicas?.position() : token?.wal) ?? '0'
  return await readFresh(side, asked, {
    token,
    upTo: options.latest && token?.upTo ? larger(newest.upTo, token.upTo) : newest.upTo,
    position: Math.max(newest.position, token?.position ?? 0),
    maxStalenessMs: options.maxStalenessMs,
    wal,
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

/** Whatever is there. */
async function readAnyhow(side: ReadSide, asked: Asked): Promise<Answer<unknown>> {
  const found = side.replicas && (await side.replicas.read((client, lagMs) => run(side, asked, { client, lagMs }, anyhow)))
  return found ? found.value : run(side, asked, { client: side.database, lagMs: 0 }, anyhow)
}

/** Reads in one snapshot in which everything wanted is there, or waits for it. */
async function readFresh(side: ReadSide, asked: Asked, wanted: Wanted): Promise<Answer<unknown>> {
  const deadline = side.clock.now() + (asked.options.waitMs ?? 2000)
  let { replicas } = side
  for (let round = 0; ; round++) {
    const told = await fromStoresAlone(side, asked, wanted)
    if (told) return told
    let found = replicas && (await lookAtReplica(side, replicas, asked, wanted))
    if (!found?.answer && (!found || replicas?.whenBehind === 'primary')) {
      // It is not behind what it is asked for, so there is no way back to a replica.
      if (found) replicas = undefined
      found = await look(side, asked, wanted)
    }
    if (found.answer) return found.answer
    const hopeless = replicas?.whenBehind === 'fail' && found.lacking instanceof ReplicaBehindError
    const left = deadline - side.clock.now()
    if (left <= 0 || hopeless) {
      if (asked.options.allowStale) return await readAnyhow(side, asked)
      throw found.lacking
    }
    // Whoever wrote has woken the workers already; this is for writers that know nothing of Headwater.
    if (round % 5 === 0) side.wake()
    await side.progress.wait(side.clock, Math.min(left, round < 3 ? 3 : 20))
    if (round % 50 === 49) await side.refresh()
  }
}

/**
 * The answer, if the stores that it comes from say themselves that they hold the token's position: then the write database need not be asked.
 * Undefined when it has to be.
 */
async function fromStoresAlone(
  side: ReadSide,
  asked: Asked,
  { token, position, maxStalenessMs }: Wanted,
): Promise<Answer<unknown> | undefined> {
  if (!token || asked.options.latest || maxStalenessMs !== undefined) return undefined
  const reads = Object.values(asked.query['~reads'])
  const alone = reads.every(({ readModelName }) => {
    const { state, kept } = side.locate(readModelName)
    return kept.elsewhere && state === 'live'
  })
  if (!alone || reads.length === 0) return undefined
  try {
    return await run(side, asked, { client: side.database, lagMs: 0 }, { check: 'strict', atLeast: position })
  } catch (error) {
    if (error instanceof BehindError) return undefined
    throw error
  }
}

/** What a look came to: the answer, or what it lacks. */
type Looked =
  | { readonly answer: Answer<unknown>; readonly lacking?: never }
  | { readonly lacking: BehindError | ReplicaBehindError; readonly answer?: never }

/** One look, in one snapshot of the write database. */
async function look(side: ReadSide, asked: Asked, wanted: Wanted): Promise<Looked> {
  return await behindAsLacking(
    side.database.transaction((transaction) => lookIn(side, asked, wanted, { client: transaction, lagMs: 0 }), {
      isolation: 'repeatable read',
      readOnly: true,
    }),
  )
}

/** One look, in one snapshot of a replica that has replayed what is wanted. Undefined: no replica can be read. */
async function lookAtReplica(side: ReadSide, replicas: ReplicaSet, asked: Asked, wanted: Wanted): Promise<Looked | undefined> {
  // Half of it, since the rows are read a little later.
  const recent = wanted.maxStalenessMs === undefined ? undefined : await replicas.position(wanted.maxStalenessMs / 2)
  const found = await replicas.snapshot(larger(recent, wanted.wal), (client, lagMs) =>
    behindAsLacking(lookIn(side, asked, wanted, { client, lagMs })),
  )
  return found === 'behind' ? { lacking: new ReplicaBehindError(replicas.names) } : found?.value
}

async function lookIn(side: ReadSide, asked: Asked, wanted: Wanted, source: Source): Promise<Looked> {
  const lacking = await lack(side, asked, wanted, source.client)
  if (lacking !== undefined) return { lacking }
  return { answer: await run(side, asked, source, { check: 'strict', atLeast: wanted.position }) }
}

async function behindAsLacking(looking: Promise<Looked>): Promise<Looked> {
  try {
    return await looking
  } catch (error) {
    // Rows in another store, which no snapshot of ours covers.
    if (error instanceof BehindError) return { lacking: error }
    throw error
  }
}

/** Why this snapshot is not fresh enough yet, or undefined when it is. What no waiting can mend is thrown. */
async function lack(side: ReadSide, asked: Asked, wanted: Wanted, client: SqlClient): Promise<BehindError | undefined> {
  const names = [...new Set(Object.values(asked.query['~reads']).map(({ readModelName }) => readModelName))]
  const located = names.map((name) => ({ name, ...side.locate(name).kept }))
  const views = new Map(located.flatMap(({ by, id, name }) => (by === 'marks' ? [[id, name] as const] : [])))
  const projections = new Map(located.flatMap((one) => (one.by === 'checkpoint' ? [[one.id, one] as const] : [])))
  const writes = wanted.token?.writes.length ?? 0
  const want = writes + (wanted.upTo === undefined ? 0 : 1) + (wanted.position > 0 ? 1 : 0)
  const lacking =
    (views.size === 0 ? 0 : await lackingWrites(side, views, wanted, client)) +
    (projections.size === 0 ? 0 : await lackingPosition(side, projections, wanted, client))
  if (lacking > 0) return new BehindError(names, Math.max(0, want - lacking), want)
  if (wanted.maxStalenessMs === undefined || views.size === 0) return undefined
  return (await stalenessMs(side, [...views.keys()], client)) > wanted.maxStalenessMs ? new BehindError(names, 0, 1) : undefined
}

/** How many writes the view lacks that lacks most. */
async function lackingWrites(side: ReadSide, views: ReadonlyMap<number, string>, wanted: Wanted, client: SqlClient): Promise<number> {
  const writes = wanted.token?.writes ?? []
  const { rows } = await client.query<Outstanding>(
    `select view, state, lacking, parked, ahead from ${quote(side.schema)}.outstanding($1::int[], $2::xid8[], $3::boolean[], $4::xid8)`,
    [[...views.keys()], writes.map(({ xid }) => xid), writes.map(({ fanOut }) => fanOut), wanted.upTo ?? null],
    { prepare: true },
  )
  let lacking = 0
  for (const [view, name] of views) {
    const found = rows.find((row) => row.view === view)
    if (found?.ahead) throw new TokenError('ahead', 'the token names a write that this database has never seen')
    checkState(name, found?.state)
    if (found?.parked) throw new ParkedError(name, 'of the write that was asked for', 'its row could not be computed')
    lacking = Math.max(lacking, found?.lacking ?? 0)
  }
  return lacking
}

/** 1 when a projection has not reached the position, or is older than it may be; 0 when all have and none is. */
async function lackingPosition(
  side: ReadSide,
  projections: ReadonlyMap<number, { readonly name: string; readonly elsewhere: boolean }>,
  wanted: Wanted,
  client: SqlClient,
): Promise<number> {
  const schema = quote(side.schema)
  const { rows } = await client.query<Reached & { readonly head: number }>(
    `select p.id, p.state, c.position, (select coalesce(max(e.position), 0) from ${schema}.event e) as head,
       coalesce((select greatest(0, extract(epoch from clock_timestamp() - e.time) * 1000) from ${schema}.event e where e.position = c.position + 1), 0)::float8 as lag
     from ${schema}.projection p
     cross join lateral (select coalesce(min(position), 0) as position from ${schema}.checkpoint c where c.projection = p.id) c
     where p.id = any ($1::int[])`,
    [[...projections.keys()]],
    { prepare: true },
  )
  let lacking = 0
  for (const [id, { name, elsewhere }] of projections) {
    const found = rows.find((row) => row.id === id)
    checkState(name, found?.state)
    if (found && wanted.position > found.head) throw new TokenError('ahead', 'the token names an event that this log has never held')
    // How far another store is its owner tells here once a second; the store tells it with each row.
    const lacks = !elsewhere && (found?.position ?? 0) < wanted.position
    if (!found || lacks || found.lag > (wanted.maxStalenessMs ?? Number.POSITIVE_INFINITY)) lacking = 1
  }
  return lacking
}

function checkState(name: string, state: string | undefined): void {
  if (state === 'building') throw new NotReadyError('building', name, 'it is being built again from nothing it trusted')
  if (state !== 'live' && state !== 'previous') {
    throw new NotReadyError('stopped', name, 'it is stopped and cannot be brought up to what was asked for')
  }
}

async function stalenessMs(side: ReadSide, views: readonly number[], client: SqlClient): Promise<number> {
  const { rows } = await client.query<{ lag: number }>(
    `select coalesce(max(lag_ms), 0) as lag from ${quote(side.schema)}.pending() where view = any ($1::int[])`,
    [views],
    { prepare: true },
  )
  return rows[0]?.lag ?? 0
}

/** The newest transaction and the last event that can have been committed by now. */
async function newestWrite(side: ReadSide): Promise<{ readonly upTo: string; readonly position: number }> {
  const { rows } = await side.database.query<{ upTo: string; position: number }>(
    `select (pg_snapshot_xmax(pg_current_snapshot())::text::numeric - 1)::text as "upTo",
       (select coalesce(max(position), 0) from ${quote(side.schema)}.event) as position`,
    [],
    { prepare: true },
  )
  return rows[0] ?? { upTo: '0', position: 0 }
}

function larger(a: string | undefined, b: string): string {
  return a === undefined || BigInt(a) < BigInt(b) ? b : a
}

const anyhow: ReadDemand = { check: 'none', atLeast: 0 }

/** Where rows are read, and how old what is missing there may be. */
interface Source {
  readonly client: SqlClient
  readonly lagMs: number
}

async function run(
  side: ReadSide,
  { query, parsed, options }: Asked,
  { client, ...source }: Source,
  demand: ReadDemand,
): Promise<Answer<unknown>> {
  let lagMs = 0
  const readers: Record<string, unknown> = {}
  for (const [alias, { readModelName }] of Object.entries(query['~reads'])) {
    const located = side.locate(readModelName)
    lagMs = Math.max(lagMs, located.lagMs)
    readers[alias] = located.reader(client, demand)
  }
  const sql: Sql = sqlOn(client)
  const result = await query['~execute'](parsed as never, { ...readers, sql, context: options.context ?? {} } as never)
  return { result, lagMs: Math.round(lagMs + source.lagMs) }
}
