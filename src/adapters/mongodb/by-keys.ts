import type { Collection, FindOptions } from 'mongodb'
import { ours, type RowDocument } from './document.ts'
import type { Marker } from './marker.ts'

/** Documents of some keys, and the incarnation that they are of. */
export interface MarkedRows {
  readonly found: readonly RowDocument[]
  readonly incarnation: string | undefined
}

const keysMax = 1_000
const singlesMax = 100

/** Finds documents by their keys. */
export class ByKeys {
  readonly #rows: Collection<RowDocument>
  readonly #marker: Marker
  readonly #singles: number

  /**
   * @param alone whether a few keys are asked for one by one: FerretDB decodes every document to find a list of keys, but leaves one key to its own
   * database
   */
  constructor(rows: Collection<RowDocument>, marker: Marker, alone: boolean) {
    this.#rows = rows
    this.#marker = marker
    this.#singles = alone ? singlesMax : 0
  }

  /** @throws {IncompatibleStoreError} one of them is of something else */
  async find(keys: readonly string[], options: FindOptions = {}): Promise<readonly RowDocument[]> {
    return ours(await (keys.length > this.#singles ? this.#listed(keys, options) : this.#alone(keys, options)), this.#rows.namespace)
  }

  /** The marker is read last: if it is there, the documents were, too. */
  async findMarked(keys: readonly string[]): Promise<MarkedRows> {
    if (keys.length <= this.#singles) return { found: await this.find(keys), incarnation: await this.#marker.read() }
    const { id } = this.#marker
    // One look at a collection finds the marker with the rows, or is broken off.
    const listed = await this.#listed([...keys, id], {})
    const isMarker = ({ _id }: { readonly _id: unknown }) => id.equals(_id as never)
    const found = ours(
      listed.filter((document) => !isMarker(document)),
      this.#rows.namespace,
    )
    const marker = listed.find(isMarker)
    return { found, incarnation: marker?.incarnation as string | undefined }
  }

  async #listed(ids: readonly unknown[], options: FindOptions): Promise<readonly RowDocument[]> {
    const found: RowDocument[] = []
    for (let i = 0; i < ids.length; i += keysMax) {
      const some = ids.slice(i, i + keysMax) as string[]
      // All that there are in one answer, if it has room.
      found.push(...(await this.#rows.find({ _id: { $in: some } }, { ...options, batchSize: keysMax + 1 }).toArray()))
    }
    return found
  }

  async #alone(keys: readonly string[], options: FindOptions): Promise<readonly RowDocument[]> {
    const found = await Promise.all(keys.map((_id) => this.#rows.findOne({ _id }, options)))
    return found.filter((document) => document !== null)
  }
}
