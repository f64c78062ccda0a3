import { randomBytes } from 'node:crypto'
import { type Batch, type Checkpoint, indexText, type RowChange, type Store, type StoredModel } from 'headwater'

/** A read model's version that nobody else uses. */
export function freshModel(changes: Partial<StoredModel> = {}): StoredModel {
  return {
    owner: `test_${randomBytes(4).toString('hex')}`,
    name: 'cards',
    version: 1,
    indexes: [{ name: 'byName', fields: ['name'] }],
    ...changes,
  }
}

export function at(position: number): Checkpoint {
  return { position, eventId: `event-${position}` }
}

/** A change of a row that stood at `was`; null deletes. */
export function change(model: StoredModel, key: string, was: number | undefined, position: number, row: object | null): RowChange {
  const index = row === null ? [] : model.indexes.map(({ fields }) => indexText(fields, row as Record<string, unknown>, key))
  return { key, was, position, version: null, row: row === null ? null : JSON.stringify(row), index }
}

export function batch(from: number | null, to: number, rows: readonly RowChange[], more: Partial<Batch> = {}): Batch {
  return { partitions: { first: 0, last: 63 }, from: from === null ? null : at(from), to: at(to), rows, park: [], unpark: [], ...more }
}

/** One event: the key it is for, and what becomes of its row. */
export type Step = readonly [key: string, fold: (row: { name: string; n: number } | undefined) => { name: string; n: number } | null]

/**
 * Folds the steps (the first has position 1) from the store's own checkpoint on, in batches, as an owner does: again from what the store has,
 * whenever a batch is lost. `onBatch` runs between reading and writing.
 */
export async function catchUp(
  store: Store,
  model: StoredModel,
  steps: readonly Step[],
  size: number,
  onBatch?: () => Promise<unknown>,
): Promise<void> {
  for (let tries = 0; tries < 1_000; tries++) {
    try {
      if (await step(store, model, steps, size, onBatch)) return
    } catch (error) {
      if (!(error instanceof Error && 'code' in error && error.code === 'database_unavailable')) throw error
      await new Promise((resolve) => setTimeout(resolve, 5))
    }
  }
  throw new Error('it never caught up')
}

/** One batch; true: there was none left. */
async function step(
  store: Store,
  model: StoredModel,
  steps: readonly Step[],
  size: number,
  onBatch?: () => Promise<unknown>,
): Promise<boolean> {
  const { checkpoint } = await store.load(model, [])
  const position = checkpoint?.position ?? 0
  if (checkpoint && position >= steps.length) return true
  const next = steps.slice(position, position + size)
  const seen = await store.load(model, [...new Set(next.map(([key]) => key))])
  const stored = new Map(seen.rows.map((row) => [row.key, row]))
  const folded = new Map<string, { row: { name: string; n: number } | null; position: number; was: number }>()
  next.forEach(([key, fold], i) => {
    const was = stored.get(key)?.position ?? 0
    if (position + i + 1 <= was) return
    const before = stored.get(key)?.row
    const row = folded.get(key) ? (folded.get(key)?.row ?? null) : before ? JSON.parse(before) : null
    folded.set(key, { row: fold(row ?? undefined), position: position + i + 1, was })
  })
  await onBatch?.()
  const rows = [...folded].map(([key, { row, position: reached, was }]) => change(model, key, was, reached, row))
  await store.apply(model, { ...batch(null, position + next.length, rows), from: checkpoint })
  return false
}

/** All rows by key, in order. */
export async function contents(store: Store, model: StoredModel): Promise<Readonly<Record<string, unknown>>> {
  const { rows } = await store.range(model, { index: undefined, from: '', to: '\u{10ffff}', reverse: false, limit: 100_000 })
  return Object.fromEntries(rows.map(({ key, row, position }) => [key, { ...JSON.parse(row), position }]))
}

/** Steps over a few keys that count, rename and delete, the same for the same seed. */
export function someSteps(count: number, seed = 1): readonly Step[] {
  let state = seed
  const random = (below: number) => {
    state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0
    return (state >>> 8) % below
  }
  return Array.from({ length: count }, (): Step => {
    const key = `key ${random(Math.max(5, count / 20))}`
    const name = `name ${random(10)}`
    const kind = random(8)
    return [key, (row) => (kind === 0 ? null : { name: kind === 1 ? name : (row?.name ?? name), n: (row?.n ?? 0) + 1 })]
  })
}
