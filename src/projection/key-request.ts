import type { SqlClient } from '../database/database.ts'
import { quote } from '../database/identifier.ts'
import { canonicalJson } from '../internal/json.ts'
import type { EventLog } from '../log/log.ts'
import { logOn } from '../log/log-on.ts'
import { databaseStore } from '../read-model/database-store.ts'
import {
  type Batch,
  type Checkpoint,
  type Parked,
  type Partitions,
  partitionOf,
  type RowChange,
  type Store,
  type StoredModel,
} from '../read-model/store.ts'
import { type Entry, type Folding, nothing } from './fold.ts'
import { keyEvents } from './key-events.ts'
import { lockLog } from './lock-log.ts'
import type { ProjectionRuntime, ProjectionVersion } from './registry.ts'
import { entryOf, foldNext, rowChange, skipId } from './working-set.ts'

/** What a person asked for one key, or for all that are parked. */
export interface KeyRequest {
  readonly id: number
  readonly projection: number
  readonly action: 'retry' | 'skip' | 'repair'
  readonly key: string | null
  readonly reason: string | null
}

/** Requests that nobody has seen to. */
export async function openRequests(client: SqlClient, schema: string, projections: readonly number[]): Promise<readonly KeyRequest[]> {
  if (projections.length === 0) return []
  const { rows } = await client.query<KeyRequest>(
    `select id, projection, action, key, reason from ${quote(schema)}.key_request where done_at is null and projection = any ($1::int[]) order by id`,
    [projections],
    { prepare: true },
  )
  return rows
}

/** Brings the events that were taken out of the folds of some versions, each as {@link skipId}, up to date in place: any process may take one out. */
export async function refreshSkipped(client: SqlClient, schema: string, sets: ReadonlyMap<number, Set<string>>): Promise<void> {
  if (sets.size === 0) return
  // One that is taken out while this looks is not to be forgotten.
  const before = new Map([...sets].map(([projection, skipped]) => [projection, [...skipped]]))
  const { rows } = await client.query<{ projection: number; key: string; position: number }>(
    `select projection, key, position from ${quote(schema)}.skipped_event where projection = any ($1::int[])`,
    [[...sets.keys()]],
    { prepare: true },
  )
  for (const [projection, skipped] of sets) {
    const now = new Set(rows.filter((row) => row.projection === projection).map(({ key, position }) => skipId(key, position)))
    for (const id of before.get(projection) ?? []) if (!now.has(id)) skipped.delete(id)
    for (const id of now) skipped.add(id)
  }
}

interface Owner {
  readonly runtime: ProjectionRuntime
  readonly version: ProjectionVersion
  readonly folding: Folding
  readonly store: Store
  readonly model: StoredModel
  readonly partitions: Partitions
  readonly checkpoint: Checkpoint
  readonly skipped: Set<string>
}

/** An owner at work: on the database, or within a transaction. */
interface Place extends Owner {
  readonly client: SqlClient
  readonly eventLog: EventLog
}

/**
 * Does what was asked of keys, by their owner, between two batches: folds the events that wait behind a parked key, or all events of a key again, up to
 * the checkpoint, and writes what comes out without moving that. Gives back the keys that may have changed.
 */
export async function handleRequests(owner: Owner, requests: readonly KeyRequest[]): Promise<readonly string[]> {
  const touched: string[] = []
  for (const request of requests) {
    if (request.key !== null && !owns(owner, request.key)) continue
    try {
      const { keys, outcome } = await handleUntilKept(owner, request)
      touched.push(...keys)
      await close(owner, request, outcome)
    } catch (error) {
      await close(owner, request, error instanceof Error ? error.message : String(error))
      throw error
    }
  }
  return touched
}

const lost = 'another process owns it now'
const triesMax = 5

/** Appends move the checkpoint of a sync projection whenever they like. If they leave no room between two of them, they wait. */
async function handleUntilKept(owner: Owner, request: KeyRequest): Promise<{ keys: readonly string[]; outcome: string }> {
  const { runtime, folding, store, model } = owner
  const place = { ...owner, client: runtime.database, eventLog: runtime.eventLog }
  if (!folding.sync) return await handle(place, request)
  for (let tries = 1; tries <= triesMax; tries++) {
    const { checkpoint } = await store.load(model, [])
    const handled = await handle({ ...place, checkpoint: checkpoint ?? owner.checkpoint }, request)
    if (handled.outcome !== lost) return handled
  }
  return await runtime.database.transaction(async (transaction) => {
    await lockLog(transaction, runtime.schema)
    const within = databaseStore(transaction, runtime.schema, { home: true })
    const { checkpoint } = await within.load(model, [])
    const locked = {
      ...owner,
      client: transaction,
      eventLog: logOn(transaction, runtime.schema),
      store: within,
      checkpoint: checkpoint ?? owner.checkpoint,
    }
    return await handle(locked, request)
  })
}

async function handle(owner: Place, { action, key, reason }: KeyRequest): Promise<{ keys: readonly string[]; outcome: string }> {
  const keys =
    key === null ? ((await owner.store.parked?.(owner.model)) ?? []).map((parked) => parked.key).filter((one) => owns(owner, one)) : [key]
  if (keys.length === 0) return { keys, outcome: 'done' }
  const { rows } = await owner.store.load(owner.model, keys)
  const entries = new Map<string, Entry>(keys.map((one) => [one, nothing]))
  for (const row of rows) entries.set(row.key, entryOf(row))
  if (action === 'repair') return await refold(owner, entries, () => nothing)
  const parked = new Map([...entries].filter(([, entry]) => entry.parked))
  if (parked.size === 0) return { keys: [], outcome: 'it is not parked' }
  if (action === 'skip') {
    for (const [one, entry] of parked) await recordSkip(owner, one, entry, reason ?? '')
  }
  return await refold(owner, parked, (entry) => ({ ...entry, parked: undefined }))
}

/** Folds keys from what `begin` makes of what is stored, to the checkpoint, and writes the difference. */
async function refold(
  owner: Place,
  stored: ReadonlyMap<string, Entry>,
  begin: (entry: Entry) => Entry,
): Promise<{ keys: readonly string[]; outcome: string }> {
  const folded = new Map([...stored].map(([key, entry]) => [key, begin(entry)]))
  const after = [...folded.values()].reduce((lowest, { position }) => Math.min(lowest, position), Number.POSITIVE_INFINITY)
  const range = { after, upTo: owner.checkpoint.position }
  for await (const routed of keyEvents(owner.eventLog, owner.folding, new Set(stored.keys()), range)) {
    for (const one of routed) for (const key of one.keys) folded.set(key, foldNext(owner, folded.get(key) ?? nothing, key, one))
  }
  const batch = difference(owner, stored, folded)
  const applied = await owner.store.apply(owner.model, batch)
  if (applied === 'lost') return { keys: [...stored.keys()], outcome: lost }
  const still = applied === 'parked' ? await refused(owner, batch) : [...folded.values()].find(({ parked }) => parked)?.parked
  return { keys: [...stored.keys()], outcome: still ? `parked again at position ${still.position}: ${still.reason}` : 'done' }
}

/** Why the store did not take a row of the batch. */
async function refused({ store, model }: Owner, { rows }: Batch): Promise<Parked | undefined> {
  const seen = await store.load(
    model,
    rows.map(({ key }) => key),
  )
  return seen.rows.find(({ parked }) => parked)?.parked
}

function difference(owner: Owner, stored: ReadonlyMap<string, Entry>, folded: ReadonlyMap<string, Entry>): Batch {
  const rows: RowChange[] = []
  const park: Batch['park'][number][] = []
  const unpark: string[] = []
  for (const [key, was] of stored) {
    const now = folded.get(key) ?? nothing
    if (was.position !== now.position || canonicalJson(was.row) !== canonicalJson(now.row)) {
      // What is not to be there has no event of its own.
      rows.push(rowChange(owner.folding, key, was, now.row ? now : { ...now, position: Math.max(was.position, now.position) }))
    }
    if (now.parked) park.push({ key, ...now.parked })
    else if (was.parked) unpark.push(key)
  }
  return { partitions: owner.partitions, from: owner.checkpoint, to: owner.checkpoint, rows, park, unpark }
}

async function recordSkip(owner: Place, key: string, { parked }: Entry, reason: string): Promise<void> {
  if (!parked) return
  await owner.client.query(
    `insert into ${quote(owner.runtime.schema)}.skipped_event (projection, key, position, event_id, reason) values ($1, $2, $3, $4, $5) on conflict do nothing`,
    [owner.version.id, key, parked.position, parked.eventId, reason],
  )
  owner.skipped.add(skipId(key, parked.position))
  owner.runtime.log('warn', `${owner.version.name}: an event was skipped`, { key, position: parked.position, reason })
}

async function close(owner: Owner, request: KeyRequest, outcome: string): Promise<void> {
  await owner.runtime.database.query(
    `update ${quote(owner.runtime.schema)}.key_request set done_at = clock_timestamp(), outcome = $2 where id = $1 and done_at is null`,
    [request.id, outcome],
  )
}

function owns({ partitions: { first, last } }: Owner, key: string): boolean {
  const partition = partitionOf(key)
  return partition >= first && partition <= last
}
