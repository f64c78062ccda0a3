import type { Transaction } from '../database/database.ts'
import { quote } from '../database/identifier.ts'
import { NotReadyError, UsageError } from '../errors.ts'
import { logOn } from '../log/log-on.ts'
import { databaseStore } from '../read-model/database-store.ts'
import { partitionCount } from '../read-model/store.ts'
import { level, type Standing, spread } from './level.ts'
import type { OwnProjection } from './own-projection.ts'
import type { ProjectionRuntime } from './registry.ts'

interface Range {
  readonly first: number
  readonly last: number
  readonly position: number
  readonly event_id: string | null
}

/** So many events are folded while owners wait, to bring ranges that are to be joined to one place. */
const spreadMax = 10_000

/**
 * Divides a version into ranges of partitions, each of which a process may own. Nothing is built anew: every partition keeps its checkpoint, and where ranges
 * are joined those that are behind are brought to the one that is furthest. In the write database that is done here, while their owners wait; in another
 * store, where each partition's checkpoint is with its rows, by whoever takes the joined range. Owners notice within a second, and what they write until
 * then counts as lost.
 * @throws {UsageError}
 * @throws {NotReadyError} ranges that are to be joined are too far apart: one of them has much to catch up with
 */
export async function divide(runtime: ProjectionRuntime, own: OwnProjection, ranges: number): Promise<void> {
  const { version, folding } = own
  if (!(Number.isInteger(ranges) && ranges >= 1 && ranges <= partitionCount))
    throw new UsageError(`divide: a whole number from 1 to ${partitionCount}`)
  if (folding.sync && ranges > 1) throw new UsageError(`${version.name}: a sync projection moves with appends and has one range`)
  const firsts = Array.from({ length: ranges }, (_, i) => Math.floor((i * partitionCount) / ranges))
  await runtime.database.transaction(async (transaction) => {
    const held = await holdRanges(transaction, runtime.schema, version.id)
    const joins = held.some(({ first }) => !firsts.includes(first))
    const level = joins && version.store === null ? await levelled(transaction, runtime, own, held) : held
    await replaceRanges(transaction, runtime.schema, version.id, dividedAt(level, firsts))
  })
}

async function holdRanges(transaction: Transaction, schema: string, projection: number): Promise<readonly Range[]> {
  const { rows } = await transaction.query<Range>(
    `select first, last, position, event_id from ${quote(schema)}.checkpoint where projection = $1 order by first for update`,
    [projection],
  )
  return rows
}

/** All ranges at one place: their owners cannot write while their rows are held. */
async function levelled(
  transaction: Transaction,
  { schema, clock }: ProjectionRuntime,
  { version, folding, model, skipped }: OwnProjection,
  held: readonly Range[],
): Promise<readonly Range[]> {
  const standings = held.map(
    ({ first, last, position, event_id }): Standing => ({ partitions: { first, last }, checkpoint: { position, eventId: event_id } }),
  )
  const apart = spread(standings)
  if (apart > spreadMax) {
    throw new NotReadyError(
      'building',
      version.name,
      `its ranges are ${apart} events apart, so they cannot be joined yet; divide it again when it has caught up`,
    )
  }
  const eventLog = logOn(transaction, schema)
  const store = databaseStore(transaction, schema, { home: true })
  await level({ name: version.name, eventLog, store, model, folding, skipped, mayHoldRows: false, now: () => clock.now() }, standings)
  return await holdRanges(transaction, schema, version.id)
}

async function replaceRanges(transaction: Transaction, schema: string, projection: number, ranges: readonly Range[]): Promise<void> {
  const s = quote(schema)
  await transaction.query(`delete from ${s}.checkpoint where projection = $1`, [projection])
  await transaction.query(
    `insert into ${s}.checkpoint (projection, first, last, position, event_id)
     select $1, r.* from unnest($2::int[], $3::int[], $4::int8[], $5::uuid[]) r`,
    [
      projection,
      ranges.map(({ first }) => first),
      ranges.map(({ last }) => last),
      ranges.map(({ position }) => position),
      ranges.map(({ event_id }) => event_id),
    ],
  )
}

/** The ranges that begin at `firsts`, each where the lowest of its partitions stands. */
function dividedAt(ranges: readonly Range[], firsts: readonly number[]): readonly Range[] {
  return firsts.map((first, i) => {
    const last = (firsts[i + 1] ?? partitionCount) - 1
    const inside = ranges.filter((range) => range.first <= last && range.last >= first)
    const lowest = inside.reduce((low, range) => (range.position < low.position ? range : low))
    return { ...lowest, first, last }
  })
}
