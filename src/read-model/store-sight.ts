import type { Clock } from '../internal/clock.ts'
import type { Store, StoredModel, StoreSize } from './store.ts'

/** What is known of a version in its store. */
export interface StoreSight {
  /** As last seen by this process; nothing if it never was. */
  readonly size: StoreSize
  /** Keys parked in the store as last seen; undefined: never seen. */
  readonly parked: number | undefined
  /** Whether the store answered; undefined: it takes its time, and was not known to be down before. */
  readonly answers: boolean | undefined
}

/** One look, and what the one before it showed. */
interface Looking {
  seen: StoreSight
  look: { readonly since: number; readonly done: Promise<void> } | undefined
}

const patienceMs = 1000
/** Of a version that was never looked at. */
const nothingSeen: StoreSight = { size: { rows: 0, bytes: 0 }, parked: undefined, answers: undefined }
/** Of a version in a store that this process does not use. */
export const outOfSight: StoreSight = { ...nothingSeen, answers: false }
const lookings = new WeakMap<Store, Map<string, Looking>>()

/**
 * Looks at a version in its store, but waits a second at most: of a store that does not answer it tells what was last seen. A look that takes longer goes
 * on, and whoever asks meanwhile shares it, so that asking often puts nothing more on a store that hangs. Never fails.
 */
export async function storeSight(clock: Clock, store: Store, model: StoredModel): Promise<StoreSight> {
  const looking = lookingAt(store, model)
  const own = looking.look ?? { since: clock.now(), done: look(store, model, looking) }
  looking.look = own
  const leftMs = own.since + patienceMs - clock.now()
  if (leftMs > 0) {
    const waiting = new AbortController()
    await Promise.race([own.done, clock.sleep(leftMs, waiting.signal)])
    waiting.abort()
  }
  const isOverdue = looking.look === own
  return isOverdue && looking.seen.answers ? { ...looking.seen, answers: undefined } : looking.seen
}

function lookingAt(store: Store, { owner, name, version }: StoredModel): Looking {
  const known = lookings.get(store) ?? new Map<string, Looking>()
  lookings.set(store, known)
  const id = JSON.stringify([owner, name, version])
  const looking = known.get(id) ?? { seen: nothingSeen, look: undefined }
  known.set(id, looking)
  return looking
}

async function look(store: Store, model: StoredModel, looking: Looking): Promise<void> {
  // Each begins in a turn of its own, so that an adapter that throws at once fails like one that rejects.
  const [loaded, size] = await Promise.allSettled([(async () => store.load(model, []))(), (async () => store.size?.(model))()])
  const { seen } = looking
  looking.look = undefined
  looking.seen = {
    size: (size.status === 'fulfilled' ? size.value : undefined) ?? seen.size,
    parked: loaded.status === 'fulfilled' ? loaded.value.parked : seen.parked,
    answers: loaded.status === 'fulfilled',
  }
}
