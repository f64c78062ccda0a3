import type { EventLog } from '../log/log.ts'
import type { Checkpoint, Partitions, Store, StoredModel } from '../read-model/store.ts'
import { contiguous } from './contiguous.ts'
import type { Folding } from './fold.ts'
import { LostError, StopError } from './projector-end.ts'
import { WorkingSet } from './working-set.ts'

/** Some partitions of a version and where they stand; null: the store has nothing of them. */
export interface Standing {
  readonly partitions: Partitions
  readonly checkpoint: Checkpoint | null
}

/** What folding takes, wherever it is done. */
export interface Place {
  readonly name: string
  readonly eventLog: EventLog
  readonly store: Store
  readonly model: StoredModel
  readonly folding: Folding
  readonly skipped: ReadonlySet<string>
  /** As a {@link WorkingSet} takes it. */
  readonly mayHoldRows: boolean
  /** Milliseconds since 1970. */
  readonly now: () => number
}

const chunk = 1000
const cacheRows = 20_000

/**
 * Brings partitions that stand at different places to the highest of them, each range by folding what it lacks, so that they can go on as one. Gives back
 * where all of them stand then. That the log is the one they were folded from is known.
 * @throws {LostError} somebody else moved one of them meanwhile
 * @throws {StopError}
 */
export async function level(place: Place, standings: readonly Standing[]): Promise<Checkpoint | null> {
  const highest = highestOf(standings)
  for (const standing of standings) if (positionOf(standing) < positionOf({ checkpoint: highest })) await raise(place, standing, highest)
  return highest
}

/** How many events the lowest lacks of the highest. */
export function spread(standings: readonly Standing[]): number {
  const positions = standings.map(positionOf)
  return Math.max(...positions) - Math.min(...positions)
}

async function raise(place: Place, { partitions, checkpoint }: Standing, highest: Checkpoint | null): Promise<void> {
  const { eventLog, store, model, folding, skipped, mayHoldRows, now, name } = place
  const set = new WorkingSet({ folding, model, partitions, skipped, checkpoint, mayHoldRows, now, cacheRows })
  const target = highest?.position ?? 0
  for (let stored = checkpoint; set.reached.position < target; ) {
    const after = set.reached.position
    const events = await eventLog.read({ after, limit: Math.min(chunk, target - after) })
    const { good, fault } = contiguous(name, after, events)
    const stop = (await set.fold(good, store, async () => undefined)) ?? fault
    if (stop) throw new StopError(stop)
    const batch = set.take(stored)
    if ((await store.apply(model, batch)) !== 'applied') throw new LostError(`${name}: its ranges could not be brought to one place yet`)
    set.written()
    stored = batch.to
  }
}

function highestOf(standings: readonly Standing[]): Checkpoint | null {
  return standings.reduce<Checkpoint | null>(
    (highest, { checkpoint }) => (checkpoint && checkpoint.position > (highest?.position ?? -1) ? checkpoint : highest),
    null,
  )
}

function positionOf({ checkpoint }: Pick<Standing, 'checkpoint'>): number {
  return checkpoint?.position ?? 0
}
