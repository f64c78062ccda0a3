import { canonicalJson } from '../internal/json.ts'
import { afterKeys } from '../read-model/key-text.ts'
import { partitionCount, partitionOf, type RangeRow } from '../read-model/store.ts'
import { type Entry, nothing, route } from './fold.ts'
import { keyEvents } from './key-events.ts'
import type { OwnProjection } from './own-projection.ts'
import type { ProjectionRuntime } from './registry.ts'
import { foldNext } from './working-set.ts'

/** A key whose row is not what its events make of it. */
export interface RowDifference {
  readonly key: string
  readonly kind: 'missing' | 'surplus' | 'different'
}

export interface Verified {
  readonly keysChecked: number
  readonly differences: readonly RowDifference[]
}

/** What the store had for a key, and up to where that was known. */
interface Found {
  readonly row: string
  readonly position: number
}

const page = 1000
/** Rows that are compared in one reading of the log. */
const passRows = 100_000
/** A sample of a read model whose keys are no streams is taken from the rows that the first events made, and nobody changed since. */
const sampleEvents = 100_000

/**
 * Folds again and compares, each row at its own position: all keys, or about so many. Nothing is held up meanwhile: what changes while it looks is
 * compared as it was when it was read, and what differs must differ each time it is looked at. Parked keys are compared up to the event that failed.
 */
export async function verify(
  runtime: ProjectionRuntime,
  own: OwnProjection,
  options: { readonly sample?: number } = {},
): Promise<Verified> {
  const { keysChecked, differences } = await look(runtime, own, options.sample)
  let left = differences
  // Where ranges of partitions are at different places, or rows ahead of the checkpoint, one look may be wrong.
  for (let round = 0; round < 3 && left.length > 0 && left.length <= passRows; round++) {
    await runtime.clock.sleep(20)
    left = (await verifyKeys(runtime, own, new Set(left.map(({ key }) => key)))).differences
  }
  return { keysChecked, differences: left }
}

async function look(runtime: ProjectionRuntime, own: OwnProjection, sample: number | undefined): Promise<Verified> {
  if (sample === undefined) return await verifyAll(runtime, own)
  return own.folding.key ? await verifyFirst(runtime, own) : await verifyKeys(runtime, own, await someStreams(runtime, own, sample))
}

/** In passes over the log, each for some partitions, so that the rows of a pass fit into memory. */
async function verifyAll(runtime: ProjectionRuntime, own: OwnProjection): Promise<Verified> {
  const rows = (await own.store.size?.(own.model))?.rows ?? passRows
  const passes = Math.min(partitionCount, Math.max(1, Math.ceil(rows / passRows)))
  const differences: RowDifference[] = []
  let keysChecked = 0
  for (let pass = 0; pass < passes; pass++) {
    const verified = await verifyPass(runtime, own, (key) => partitionOf(key) % passes === pass)
    keysChecked += verified.keysChecked
    differences.push(...verified.differences)
  }
  return { keysChecked, differences }
}

async function verifyPass(runtime: ProjectionRuntime, own: OwnProjection, wanted: (key: string) => boolean): Promise<Verified> {
  const { found, pages } = await readAll(own, wanted)
  const parked = new Map((await own.store.parked?.(own.model))?.map(({ key, position }) => [key, position]))
  const { position: upTo } = await runtime.eventLog.head()
  // A page shows a key as it was at the page's checkpoint, and sometimes later.
  const limitOf = (key: string) =>
    wanted(key)
      ? Math.min((parked.get(key) ?? Number.POSITIVE_INFINITY) - 1, Math.max(found.get(key)?.position ?? 0, pageOf(pages, key)))
      : 0
  return compare(found, await fold(runtime, own, undefined, upTo, limitOf))
}

/** Some keys, each by what makes it. */
async function verifyKeys(runtime: ProjectionRuntime, own: OwnProjection, keys: ReadonlySet<string>): Promise<Verified> {
  const seen = await own.store.load(own.model, [...keys])
  const to = seen.checkpoint?.position ?? 0
  const found = new Map(seen.rows.flatMap(({ key, row, position }) => (row === undefined ? [] : [[key, { row, position }] as const])))
  const limits = new Map(seen.rows.map(({ key, position, parked }) => [key, parked ? parked.position - 1 : Math.max(to, position)]))
  const { position: upTo } = await runtime.eventLog.head()
  return compare(found, await fold(runtime, own, keys, upTo, (key) => limits.get(key) ?? to), keys.size)
}

/** Rows that only the first events made. A row that changed since is later than they are, and is left out. */
async function verifyFirst(runtime: ProjectionRuntime, own: OwnProjection): Promise<Verified> {
  const { checkpoint } = await own.store.load(own.model, [])
  const upTo = Math.min(checkpoint?.position ?? 0, sampleEvents)
  const folded = await fold(runtime, own, undefined, upTo, () => upTo)
  const keys = [...folded.keys()]
  const found = new Map<string, Found>()
  const later = new Set<string>()
  for (let i = 0; i < keys.length; i += page) {
    const { rows } = await own.store.load(own.model, keys.slice(i, i + page))
    for (const { key, row, position, parked } of rows) {
      if (position > upTo || parked) later.add(key)
      else if (row !== undefined) found.set(key, { row, position })
    }
  }
  // Where all events were folded nothing can be missing; else a row that is not there may have been deleted since.
  const all = checkpoint?.position === upTo
  return compare(found, new Map([...folded].filter(([key]) => !later.has(key) && (all || found.has(key)))))
}

/** Streams of events at places all over the log. */
async function someStreams(runtime: ProjectionRuntime, own: OwnProjection, count: number): Promise<ReadonlySet<string>> {
  const { position } = await runtime.eventLog.head()
  const keys = new Set<string>()
  const steps = Math.min(20, Math.max(1, position))
  for (let i = 0; i < steps; i++) {
    const events = await runtime.eventLog.read({ after: Math.floor((position * i) / steps), limit: Math.ceil(count / steps) })
    for (const event of events) for (const key of route(own.folding, event)?.keys ?? []) keys.add(key)
  }
  return keys
}

/** The rows that events make of keys, each up to its own limit. */
async function fold(
  runtime: ProjectionRuntime,
  own: OwnProjection,
  keys: ReadonlySet<string> | undefined,
  upTo: number,
  limitOf: (key: string) => number,
): Promise<ReadonlyMap<string, Entry>> {
  const folded = new Map<string, Entry>()
  for await (const routed of keyEvents(runtime.eventLog, own.folding, keys, { after: 0, upTo })) {
    for (const one of routed) {
      for (const key of one.keys) if (one.position <= limitOf(key)) folded.set(key, foldNext(own, folded.get(key) ?? nothing, key, one))
    }
  }
  return folded
}

interface Page {
  /** The page ends before this key. */
  readonly before: Buffer
  readonly position: number
}

async function readAll(
  own: OwnProjection,
  wanted: (key: string) => boolean,
): Promise<{ found: ReadonlyMap<string, Found>; pages: readonly Page[] }> {
  const found = new Map<string, Found>()
  const pages: Page[] = []
  for (let from = ''; ; ) {
    const seen = await own.store.range(own.model, { index: undefined, from, to: afterKeys, reverse: false, limit: page })
    for (const { key, row, position } of seen.rows) if (wanted(key)) found.set(key, { row, position })
    const last: RangeRow | undefined = seen.rows.length === page ? seen.rows.at(-1) : undefined
    from = last ? `${last.key}\u0001` : afterKeys
    pages.push({ before: Buffer.from(from), position: seen.checkpoint?.position ?? 0 })
    if (!last) return { found, pages }
  }
}

/** The checkpoint under which a key was looked for. */
function pageOf(pages: readonly Page[], key: string): number {
  const bytes = Buffer.from(key)
  let [low, high] = [0, pages.length - 1]
  while (low < high) {
    const middle = (low + high) >> 1
    if (Buffer.compare(bytes, pages[middle]?.before ?? bytes) < 0) high = middle
    else low = middle + 1
  }
  return pages[low]?.position ?? 0
}

function compare(found: ReadonlyMap<string, Found>, folded: ReadonlyMap<string, Entry>, checked?: number): Verified {
  const differences: RowDifference[] = []
  const keys = new Set([...found.keys(), ...[...folded].filter(([, { row }]) => row).map(([key]) => key)])
  for (const key of keys) {
    const [stored, row] = [found.get(key), folded.get(key)?.row]
    if (!stored) differences.push({ key, kind: 'missing' })
    else if (!row) differences.push({ key, kind: 'surplus' })
    else if (canonicalJson(JSON.parse(stored.row)) !== canonicalJson(row)) differences.push({ key, kind: 'different' })
  }
  return { keysChecked: checked ?? keys.size, differences }
}
