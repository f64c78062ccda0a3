import { type Partitions, partitionCount, type Store, type StoredModel } from '../read-model/store.ts'
import type { Standing } from './level.ts'

/**
 * Where some partitions of a version stand in its store, by ranges of the same checkpoint, lowest partition first, without a gap. They may have been divided
 * otherwise than whoever asks divides them.
 */
export async function storedStandings(store: Store, model: StoredModel, { first, last }: Partitions): Promise<readonly Standing[]> {
  if (!store.checkpoints) return [{ partitions: { first, last }, checkpoint: (await store.load(model, [])).checkpoint }]
  const known = await store.checkpoints(model)
  const found: Standing[] = []
  for (let partition = first; partition <= Math.min(last, partitionCount - 1); partition++) {
    const checkpoint = known.find(({ partitions }) => partitions.first <= partition && partitions.last >= partition)?.checkpoint ?? null
    const before = found.at(-1)
    const same = before?.checkpoint?.position === checkpoint?.position && before?.checkpoint?.eventId === checkpoint?.eventId
    if (before && same) found[found.length - 1] = { checkpoint, partitions: { first: before.partitions.first, last: partition } }
    else found.push({ checkpoint, partitions: { first: partition, last: partition } })
  }
  return found
}
