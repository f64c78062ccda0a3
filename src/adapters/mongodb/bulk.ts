import type { AnyBulkWriteOperation, Collection } from 'mongodb'
import type { RowDocument } from './document.ts'

export type Operation = AnyBulkWriteOperation<RowDocument>

/** What became of operations: whether one was not as expected (no document matched, or one was there already), and what the server did not take at all. */
export interface Sent {
  readonly missed: boolean
  readonly refusals: readonly { readonly index: number; readonly reason: string }[]
}

/** Sends operations on documents that are all different ones, in no order. */
export class Bulk {
  readonly #rows: Collection<RowDocument>
  readonly #lanes: number

  /**
   * @param lanes how many commands may be under way at once. More than one helps a server that carries out the operations of a command one by one, each
   * with a commit of its own; one that takes them together has more work with several.
   */
  constructor(rows: Collection<RowDocument>, lanes: number) {
    this.#rows = rows
    this.#lanes = lanes
  }

  async send(operations: readonly Operation[]): Promise<Sent> {
    const lanes = Math.min(this.#lanes, Math.ceil(operations.length / fewest))
    if (lanes <= 1) return this.#sendAtOnce(operations)
    const size = Math.ceil(operations.length / lanes)
    const parts = Array.from({ length: lanes }, (_, i) => operations.slice(i * size, (i + 1) * size))
    // None may still be writing when the batch is given up.
    const ended = await Promise.allSettled(parts.map((part) => this.#sendAtOnce(part)))
    const sent = ended.map((each) => {
      if (each.status === 'rejected') throw each.reason
      return each.value
    })
    return {
      missed: sent.some(({ missed }) => missed),
      refusals: sent.flatMap(({ refusals }, i) => refusals.map(({ index, reason }) => ({ index: index + i * size, reason }))),
    }
  }

  async #sendAtOnce(operations: readonly Operation[]): Promise<Sent> {
    if (operations.length === 0) return { missed: false, refusals: [] }
    try {
      const { matchedCount, insertedCount, deletedCount } = await this.#rows.bulkWrite([...operations], { ordered: false })
      return { missed: matchedCount + insertedCount + deletedCount < operations.length, refusals: [] }
    } catch (error) {
      const errors = writeErrorsOf(error)
      if (errors.length > 0 && errors.every(({ code }) => code === duplicate || refusing.has(code))) {
        return { missed: true, refusals: errors.filter(({ code }) => code !== duplicate) }
      }
      if (!isRefusal(error)) throw error
      if (operations.length === 1) return { missed: true, refusals: [{ index: 0, reason: error.message }] }
    }
    return this.#sendOneByOne(operations)
  }

  /** FerretDB answers for all where one is refused, and does not go on after it; the driver sends none where one is too large. */
  async #sendOneByOne(operations: readonly Operation[]): Promise<Sent> {
    const refusals: { index: number; reason: string }[] = []
    let missed = false
    for (const [index, operation] of operations.entries()) {
      const sent = await this.#sendAtOnce([operation])
      missed ||= sent.missed
      refusals.push(...sent.refusals.map(({ reason }) => ({ index, reason })))
    }
    return { missed, refusals }
  }
}

/** Operations that are not worth a command of their own. */
const fewest = 4
const duplicate = 11000

function writeErrorsOf(error: unknown): readonly { readonly index: number; readonly code: number; readonly reason: string }[] {
  if (!(error instanceof Error) || error.name !== 'MongoBulkWriteError') return []
  const found: unknown = Reflect.get(error, 'writeErrors')
  return [found].flat().flatMap((each: unknown) => {
    if (typeof each !== 'object' || each === null) return []
    return [
      { index: Number(Reflect.get(each, 'index')), code: Number(Reflect.get(each, 'code')), reason: String(Reflect.get(each, 'errmsg')) },
    ]
  })
}

/** Codes of a document that cannot be: bad value, failed to parse, dotted or dollar-prefixed names, too large, nested too deeply. */
const refusing = new Set([2, 9, 15, 22, 28, 52, 55, 56, 57, 121, 10334, 17280, 17419, 17420])
/** What FerretDB passes on when PostgreSQL cannot hold a value, or has no room for it in an index. */
const refusedBelow = /SQLSTATE (22|54)/

/** What the server says of a document that cannot be, or the driver before it sends one. */
function isRefusal(error: unknown): error is Error {
  if (!(error instanceof Error)) return false
  const code: unknown = Reflect.get(error, 'code')
  if (/^Mongo(Server|BulkWrite)Error$/.test(error.name)) return refusing.has(Number(code)) || refusedBelow.test(error.message)
  return error.name === 'BSONError' || code === 'ERR_OUT_OF_RANGE' || /^Document is larger/.test(error.message)
}
