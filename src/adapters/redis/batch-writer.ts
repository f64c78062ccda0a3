import { randomUUID } from 'node:crypto'
import { type Batch, partitionOf, type RowChange } from '../../index.ts'
import type { RedisClient, RedisConnection } from './connection.ts'
import { everyKey, type RedisKeys } from './keys.ts'
import { chunksOf, type Part, type Parts, partsOf } from './parts.ts'
import { applyScript, forgetScript, parkedAllScript, scanScript } from './scripts.ts'
import { checkpointText, rowText, stateFormat } from './text.ts'

/** What a part must find. */
interface Demand {
  /** Empty: any. */
  readonly incarnation: string
  /** How often keys were taken back until now. Empty: it does not matter. */
  readonly taken: string
  /** Whether it moves the checkpoint. */
  readonly isLast: boolean
}

/** `incarnation`: what was written to. `remembered`: how many deleted rows are, in all. */
type Outcome = 'lost' | 'again' | { readonly incarnation: string; readonly remembered: number }

/** How often a batch begins again to look for its parked keys, because other keys were taken back while it looked. */
const looksMax = 100

/**
 * Writes batches: what is small in one script, and what is larger in several, of which the last moves the checkpoint. A batch that ends in between can be
 * repeated, by whomever: rows say which events are in them, deleted ones are remembered, a key is parked or taken back only when its row is there, and one that
 * was parked before the checkpoint moved holds back its events like any other.
 */
export class BatchWriter {
  readonly #connection: RedisConnection<RedisClient>
  /** Where the look for remembered rows that an interrupted batch left goes on. */
  readonly #cursors = new WeakMap<RedisKeys, string>()

  constructor(connection: RedisConnection<RedisClient>) {
    this.#connection = connection
  }

  async apply(keys: RedisKeys, batch: Batch): Promise<'applied' | 'lost'> {
    const parts = partsOf(batch)
    const incarnation = await this.#writeEarly(keys, batch, parts)
    if (incarnation === 'lost') return 'lost'
    const done = await this.#writeLast(keys, batch, parts, incarnation)
    if (typeof done === 'string') return 'lost'
    if (done.remembered > 0) {
      // The batch counts, whatever becomes of this; what it leaves, a later one finds.
      await this.#forget(keys, parts, done.remembered).catch(() => undefined)
    }
    return 'applied'
  }

  /** All parts but the last. Answers the incarnation they met; empty if there is no such part. */
  async #writeEarly(keys: RedisKeys, batch: Batch, { rows, parking }: Parts): Promise<string> {
    // Only the parts' repetition is harmless, not their mixture with what another batch wrote after a flush: all must meet the same incarnation.
    let incarnation = ''
    for (const parts of [rows.slice(0, 1), rows.slice(1), parking.slice(0, 1), parking.slice(1)]) {
      const demand = { incarnation, taken: '', isLast: false }
      const outcomes = await Promise.all(parts.map((part) => this.#write(keys, batch, part, demand)))
      for (const outcome of outcomes) {
        if (typeof outcome === 'string') return 'lost'
        incarnation = outcome.incarnation
      }
    }
    return incarnation
  }

  /** Too many parked keys for one look are looked at piece by piece; that none was taken back meanwhile is then for the last part to see. */
  async #writeLast(keys: RedisKeys, batch: Batch, { last, watched }: Parts, incarnation: string): Promise<Outcome> {
    if (watched.length === 0) return this.#write(keys, batch, last, { incarnation, taken: '', isLast: true })
    for (let looks = 0; looks < looksMax; looks++) {
      const seen = await this.#parkedAll(keys, watched)
      if (seen === 'lost' || (incarnation !== '' && seen.incarnation !== incarnation)) return 'lost'
      const outcome = await this.#write(keys, batch, last, { ...seen, isLast: true })
      if (outcome !== 'again') return outcome
    }
    return 'lost'
  }

  /** How often keys had been taken back when the first of these keys was looked at; all of them are parked. */
  async #parkedAll(
    keys: RedisKeys,
    watched: readonly string[],
  ): Promise<{ readonly incarnation: string; readonly taken: string } | 'lost'> {
    const chunks = chunksOf(watched, (key) => key.length)
    const answers = await Promise.all(chunks.map((chunk) => this.#connection.run(parkedAllScript, [keys.rows, keys.parked], [...chunk])))
    const seen = answers as readonly (readonly [incarnation: string, taken: string, all: number])[]
    const [first = ['', '', 0]] = seen
    const isWhole = seen.every(([incarnation, , all]) => incarnation === first[0] && all === 1)
    // What was taken back behind the first look the last part sees by the lowest of these numbers.
    const taken = seen.map(([, count]) => Number(count)).reduce((a, b) => Math.min(a, b))
    return isWhole && first[0] !== '' ? { incarnation: first[0], taken: String(taken) } : 'lost'
  }

  async #write(keys: RedisKeys, batch: Batch, part: Part, { incarnation, taken, isLast }: Demand): Promise<Outcome> {
    const { partitions, from, to } = batch
    const { rows, park, unpark, stillParked } = part
    const values = [
      ...[stateFormat, incarnation, randomUUID(), String(partitions.first), String(partitions.last)],
      ...[checkpointText(from), checkpointText(to), taken, isLast ? '1' : '0'],
      ...[rows.length, park.length, unpark.length, stillParked.length].map(String),
    ]
    for (const change of rows) {
      values.push(change.key, change.was === undefined ? '*' : String(change.was), rowValue(change))
      if (keys.indexes.length > 0) values.push(change.row === null ? '' : change.index.map((text) => `${text}\0`).join(''))
    }
    for (const { key, position, eventId, reason } of park) values.push(key, JSON.stringify({ position, eventId, reason }))
    values.push(...unpark, ...stillParked)
    const [outcome, met, remembered] = (await this.#connection.run(applyScript, everyKey(keys), values, 'commit')) as readonly [
      'applied' | 'lost' | 'again',
      string?,
      number?,
    ]
    return outcome === 'applied' ? { incarnation: met ?? '', remembered: remembered ?? 0 } : outcome
  }

  /** What this batch remembered, and a piece of what others may have left: those that never came to their end. */
  async #forget(keys: RedisKeys, { rows }: Parts, remembered: number): Promise<void> {
    const own = rows.flatMap((part) => part.rows.filter(({ row }) => row === null).map(({ key }) => key))
    await this.#forgetKeys(keys, own)
    if (remembered <= own.length) return
    const cursor = this.#cursors.get(keys) ?? '0'
    const [next, found] = (await this.#connection.run(scanScript, [keys.deleted], [cursor])) as readonly [string, readonly string[]]
    this.#cursors.set(keys, next)
    await this.#forgetKeys(
      keys,
      found.filter((_, i) => i % 2 === 0),
    )
  }

  async #forgetKeys(keys: RedisKeys, names: readonly string[]): Promise<void> {
    const chunks = chunksOf(names, (key) => key.length)
    await Promise.all(chunks.map((chunk) => this.#connection.run(forgetScript, [keys.rows, keys.deleted], [...chunk])))
  }
}

/** What stands for a row in a script: of one that goes also its partition, by which it is forgotten. */
function rowValue({ key, position, version, row }: RowChange): string {
  return row === null ? `${position}::${partitionOf(key)}` : rowText(position, version, row)
}
