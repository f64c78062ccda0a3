import {
  type Batch,
  type Checkpoint,
  compareText,
  type Parked,
  partitionCount,
  type RangeRequest,
  type RangeRow,
  type RowChange,
  type Seen,
  type Store,
  type StoredModel,
  type StoredRow,
  UsageError,
} from '../../index.ts'
import { allWithin, coveredCount, type Run, withRun } from '../../internal/runs.ts'

interface Version {
  checkpoints: readonly Run<Checkpoint>[]
  readonly rows: Map<
    string,
    { readonly row: string; readonly position: number; readonly version: number | null; readonly index: readonly string[] }
  >
  readonly parked: Map<string, Parked>
}

/** Keeps read models in this process. Nothing waits inside a call, so each is one step to all others; deleted rows need not be remembered. */
export function memory(): Store {
  return new MemoryStore()
}

class MemoryStore implements Store {
  readonly description = 'memory'
  readonly #versions = new Map<string, Version>()

  async load(model: StoredModel, keys: readonly string[]): Promise<Seen<StoredRow>> {
    const { rows, parked } = this.#version(model)
    const found = [...new Set(keys)].filter((key) => rows.has(key) || parked.has(key))
    return this.#seen(
      model,
      found.map((key) => {
        const { row, position, version } = rows.get(key) ?? { row: undefined, position: 0, version: null }
        return { key, row, position, version, parked: parked.get(key) }
      }),
    )
  }

  async range(model: StoredModel, { index, from, to, reverse, limit }: RangeRequest): Promise<Seen<RangeRow>> {
    const rows = [...this.#version(model).rows]
      .map(([key, { row, position, index: texts }]) => ({ key, row, position, at: index === undefined ? key : (texts[index] ?? '') }))
      .filter(({ at }) => compareText(at, from) >= 0 && compareText(at, to) < 0)
      .sort((a, b) => compareText(a.at, b.at) || compareText(a.key, b.key))
    return this.#seen(model, (reverse ? rows.reverse() : rows).slice(0, limit))
  }

  async apply(model: StoredModel, batch: Batch): Promise<'applied' | 'lost'> {
    if (batch.from && batch.to.position < batch.from.position) throw new UsageError(`${model.name}: a checkpoint never goes back`)
    const version = this.#version(model)
    const { first, last } = batch.partitions
    if (!allWithin(version.checkpoints, first, last, batch.from ?? undefined, sameCheckpoint)) return 'lost'
    const verdicts = batch.rows.map((change) => judge(change, version.rows.get(change.key)?.position ?? 0))
    if (verdicts.includes('lost') || batch.stillParked?.some((key) => !version.parked.has(key))) return 'lost'
    this.#versions.set(idOf(model), version)
    batch.rows.forEach((change, i) => {
      if (verdicts[i] === 'write') write(version, change)
    })
    for (const key of batch.unpark) version.parked.delete(key)
    for (const { key, position, eventId, reason } of batch.park) version.parked.set(key, { position, eventId, reason })
    version.checkpoints = withRun(version.checkpoints, { first, last, value: batch.to }, sameCheckpoint)
    return 'applied'
  }

  async drop(model: StoredModel): Promise<void> {
    this.#versions.delete(idOf(model))
  }

  async checkpoints(model: StoredModel) {
    return this.#version(model).checkpoints.map(({ first, last, value }) => ({ partitions: { first, last }, checkpoint: value }))
  }

  async size(model: StoredModel) {
    const { rows } = this.#version(model)
    const bytes = [...rows].reduce((sum, [key, { row, index }]) => sum + Buffer.byteLength(key + row + index.join('')), 0)
    return { rows: rows.size, bytes }
  }

  async parked(model: StoredModel) {
    return [...this.#version(model).parked].map(([key, parked]) => ({ key, ...parked }))
  }

  #version(model: StoredModel): Version {
    return this.#versions.get(idOf(model)) ?? { checkpoints: [], rows: new Map(), parked: new Map() }
  }

  #seen<T>(model: StoredModel, rows: readonly T[]): Seen<T> {
    const { checkpoints, parked } = this.#version(model)
    const [lowest] = checkpoints.map(({ value }) => value).sort((a, b) => a.position - b.position)
    return { checkpoint: coveredCount(checkpoints) === partitionCount ? (lowest ?? null) : null, rows, parked: parked.size }
  }
}

/** What becomes of a change to a row that stands at `position` (0: it is not there). */
function judge(change: RowChange, position: number): 'write' | 'skip' | 'lost' {
  if (change.was === undefined) return position < change.position ? 'write' : 'skip'
  if (position === change.was) return 'write'
  // Whoever wrote a row that is at least as new folded the same events; and what is to go may be gone.
  return position >= change.position || (position === 0 && change.row === null) ? 'skip' : 'lost'
}

function write({ rows }: Version, { key, row, position, version, index }: RowChange): void {
  if (row === null) rows.delete(key)
  else rows.set(key, { row, position, version, index })
}

function sameCheckpoint(a: Checkpoint, b: Checkpoint): boolean {
  return a.position === b.position && a.eventId === b.eventId
}

function idOf({ owner, name, version }: StoredModel): string {
  return JSON.stringify([owner, name, version])
}
