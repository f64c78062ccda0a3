import type { Checkpoint, Partitions, Store, StoredModel } from '../read-model/store.ts'

/**
 * Where some partitions of a version stand in its store; null: it has nothing of them. They may have been divided otherwise: the lowest of what is in the
 * range is where it stands, if all of it is known.
 */
export async function storedCheckpoint(store: Store, model: StoredModel, { first, last }: Partitions): Promise<Checkpoint | null> {
  if (!store.checkpoints) return (await store.load(model, [])).checkpoint
  const inside = (await store.checkpoints(model)).filter(({ partitions }) => partitions.first <= last && partitions.last >= first)
  const lowest = inside.reduce<Checkpoint | undefined>(
    (low, { checkpoint }) => (low === undefined || checkpoint.position < low.position ? checkpoint : low),
    undefined,
  )
  return lowest ?? null
}
