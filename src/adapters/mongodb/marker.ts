import type { Collection, Document, ObjectId } from 'mongodb'
import type { RowDocument } from './document.ts'

/** Says of which incarnation of a version the rows around it are. */
interface MarkerDocument extends Document {
  readonly _id: ObjectId
  readonly incarnation: string
}

/**
 * The document among the rows that goes when they go: a collection that was dropped, and made again by the next write, has none. Its `_id` is no text,
 * so that it is no key, and no range of texts meets it.
 */
export class Marker {
  readonly id: ObjectId
  readonly #collection: Collection<MarkerDocument>

  constructor(rows: Collection<RowDocument>, objectId: (hex: string) => ObjectId) {
    this.id = objectId('0'.repeat(24))
    this.#collection = rows as unknown as Collection<MarkerDocument>
  }

  /** The incarnation that the rows are of; undefined: of none. */
  async read(): Promise<string | undefined> {
    const found = await this.#collection.findOne({ _id: this.id })
    return found?.incarnation
  }

  /** False: there is one already. */
  async put(incarnation: string): Promise<boolean> {
    return inserted(this.#collection.insertOne({ _id: this.id, incarnation }))
  }
}

/** Whether a document was inserted; false: there is one already. */
export async function inserted(insert: Promise<unknown>): Promise<boolean> {
  try {
    await insert
    return true
  } catch (error) {
    if (error instanceof Error && Reflect.get(error, 'code') === 11000) return false
    throw error
  }
}
