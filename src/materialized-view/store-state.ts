import { quote } from '../database/identifier.ts'
import type { Checkpoint } from '../read-model/store.ts'
import { stopVersion, type ViewRuntime } from './registry.ts'
import { isFilling, isOwn, type StoredView } from './stored-view.ts'

/** How far a version in another store is, as the write database knows it. */
export interface StoreState {
  readonly seed: string
  readonly reached: number
  readonly batchId: string | null
  /** Batches that may have been written since. */
  readonly intended: readonly string[]
  readonly filling: boolean
  readonly overwrite: boolean
  /** Whether somebody noted why it does not get on. */
  readonly troubled: boolean
  /** Keys that the write database knows to be parked. */
  readonly parked: number
}

export async function readState({ database, schema }: ViewRuntime, view: number): Promise<StoreState | undefined> {
  const { rows } = await database.query<StoreState>(
    `select seed, reached, batch_id as "batchId", intended, filling, overwrite, trouble is not null as troubled,
       (select count(*)::integer from ${quote(schema)}.parked p where p.view = t.view) as parked
     from ${quote(schema)}.view_store t where t.view = $1`,
    [view],
    { prepare: true },
  )
  return rows[0]
}

/** How a store stands to the write database. `mended`: agreed, though a trouble is noted. `busy`: another process is at it; look again. */
export type Agreement = 'agreed' | 'mended' | 'busy' | 'stopped'

const looks = 10

/**
 * Makes sure that the store is where it was left. A batch that it has and nobody acknowledged is adopted. A store that went back, was emptied, or is
 * ahead (then the write database went back) is emptied and filled again, and its rows do not serve meanwhile. What somebody else wrote there stops the
 * version; a person who resumes it lets it overwrite that.
 */
export async function agree(runtime: ViewRuntime, view: StoredView, who: string): Promise<Agreement> {
  const { version, store, model } = view
  for (let look = 0; look < looks; look++) {
    const before = await readState(runtime, version.id)
    const { checkpoint, parked } = await store.load(model, [])
    const state = await readState(runtime, version.id)
    if (!before || !state) return 'busy'
    // Whatever the store showed between two looks that are the same belongs to them.
    if (before.reached !== state.reached || before.batchId !== state.batchId || before.intended.join() !== state.intended.join()) continue
    if (isAt(state, checkpoint)) {
      if (parked > state.parked) await noteParked(runtime, view)
      return state.troubled ? 'mended' : 'agreed'
    }
    if (checkpoint && state.intended.includes(checkpoint.eventId ?? '')) {
      if (await adopt(runtime, { view: version.id, who }, state, checkpoint)) continue
      return 'busy'
    }
    if (checkpoint && !isOwn(checkpoint.eventId, state.seed) && !state.overwrite) {
      await refuse(runtime, view)
      return 'stopped'
    }
    await refill(runtime, view, state)
  }
  return 'busy'
}

function isAt(state: StoreState, checkpoint: Checkpoint | null): boolean {
  if (checkpoint === null) return state.batchId === null
  return checkpoint.position === state.reached && checkpoint.eventId === state.batchId
}

async function adopt(
  { database, schema }: ViewRuntime,
  { view, who }: { readonly view: number; readonly who: string },
  state: StoreState,
  { position, eventId }: Checkpoint,
): Promise<boolean> {
  const { rows } = await database.query<{ adopted: boolean }>(
    `select ${quote(schema)}.store_adopt($1, $2::uuid, $3, $4, $5, $6, $7) as adopted`,
    [...[view, who, state.reached, state.batchId, position, eventId], !isFilling(eventId)],
  )
  return rows[0]?.adopted === true
}

async function refuse(runtime: ViewRuntime, { version, store, model }: StoredView): Promise<void> {
  const { database, schema } = runtime
  await database.query(`update ${quote(schema)}.view_store set overwrite = true where view = $1`, [version.id])
  const reason = `${store.description} holds rows of another application as version ${model.version} of ${model.owner}.${model.name}; give one of them another "schema", or overwrite them with readModel('${version.name}').resume()`
  await stopVersion(runtime, version.id, version.name, reason)
}

/** The write database first: a process that ends between the two finds rows that nobody vouches for, and begins again. */
async function refill(runtime: ViewRuntime, { version, store, model }: StoredView, state: StoreState): Promise<void> {
  const { database, schema, log } = runtime
  const { rows } = await database.query<{ begun: boolean }>(`select ${quote(schema)}.store_refill($1, $2, $3, $4::text[]) as begun`, [
    ...[version.id, state.reached, state.batchId],
    state.intended,
  ])
  if (rows[0]?.begun !== true) return
  log('warn', `${version.name}: ${store.description} is not where it was left; selecting every row again`, { version: version.version })
  await store.drop(model)
}

/** A store may refuse rows by itself. */
export async function noteParked({ database, schema }: ViewRuntime, { version, store, model }: StoredView): Promise<void> {
  const parked = (await store.parked?.(model)) ?? []
  await database.query(
    `insert into ${quote(schema)}.parked (view, key, reason, sql_state, xids) select $1, p.key, p.reason, '', '{}' from unnest($2::text[], $3::text[]) p(key, reason)
     on conflict (view, key) do nothing`,
    [version.id, parked.map(({ key }) => key), parked.map(({ reason }) => reason)],
  )
}
