import { quote } from '../database/identifier.ts'
import { UsageError } from '../errors.ts'
import { partitionCount } from '../read-model/store.ts'
import type { OwnProjection } from './own-projection.ts'
import type { ProjectionRuntime } from './registry.ts'

interface Range {
  readonly first: number
  readonly last: number
  readonly position: number
  readonly event_id: string | null
}

/**
 * Divides a version into ranges of partitions, each of which a process may own. Nothing is built anew: every partition keeps its checkpoint, so that
 * ranges are joined only where they are level. Owners notice within a second, and what they write until then counts as lost.
 */
export async function divide(runtime: ProjectionRuntime, { version, folding }: OwnProjection, ranges: number): Promise<void> {
  if (!(Number.isInteger(ranges) && ranges >= 1 && ranges <= partitionCount))
    throw new UsageError(`divide: a whole number from 1 to ${partitionCount}`)
  if (folding.sync && ranges > 1) throw new UsageError(`${version.name}: a sync projection moves with appends and has one range`)
  const s = quote(runtime.schema)
  const firsts = Array.from({ length: ranges }, (_, i) => Math.floor((i * partitionCount) / ranges))
  await runtime.database.transaction(async (transaction) => {
    const { rows } = await transaction.query<Range>(
      `select first, last, position, event_id from ${s}.checkpoint where projection = $1 order by first for update`,
      [version.id],
    )
    const divided = dividedAt(rows, new Set(firsts))
    await transaction.query(`delete from ${s}.checkpoint where projection = $1`, [version.id])
    await transaction.query(
      `insert into ${s}.checkpoint (projection, first, last, position, event_id)
       select $1, r.* from unnest($2::int[], $3::int[], $4::int8[], $5::uuid[]) r`,
      [
        version.id,
        divided.map(({ first }) => first),
        divided.map(({ last }) => last),
        divided.map(({ position }) => position),
        divided.map(({ event_id }) => event_id),
      ],
    )
  })
}

/** Cut where a new range begins; joined with the one before where none does and both are level. */
function dividedAt(ranges: readonly Range[], firsts: ReadonlySet<number>): readonly Range[] {
  const divided: Range[] = []
  for (const range of ranges) {
    for (let partition = range.first; partition <= range.last; partition++) {
      const before = divided.at(-1)
      const level = before?.position === range.position && before.event_id === range.event_id
      if (before && level && !firsts.has(partition)) divided[divided.length - 1] = { ...before, last: partition }
      else divided.push({ ...range, first: partition, last: partition })
    }
  }
  return divided
}
