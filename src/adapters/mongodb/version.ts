import type { Collection, Long } from 'mongodb'
import type { StoredModel } from '../../index.ts'
import { Bulk } from './bulk.ts'
import { ByKeys } from './by-keys.ts'
import type { Opened } from './connection.ts'
import { collectionName, type RowDocument } from './document.ts'
import type { Holdable } from './holdable.ts'
import { Marker } from './marker.ts'
import { VersionState } from './state.ts'

/** How many commands one batch has under way at FerretDB, which has 50 connections of its own. */
const lanesMax = 8

/** One version of a read model on a server: its rows, their marker, and the document that says how far it is. */
export class Version {
  readonly model: StoredModel
  readonly opened: Opened
  readonly rows: Collection<RowDocument>
  readonly marker: Marker
  readonly state: VersionState
  readonly byKeys: ByKeys
  readonly bulk: Bulk
  readonly update: 'updateOne' | 'updateMany'

  constructor(opened: Opened, model: StoredModel, description: string) {
    const { database, driver, traits, turns } = opened
    const isFerret = traits.server === 'ferretdb'
    this.model = model
    this.opened = opened
    this.rows = database.collection<RowDocument>(collectionName(model))
    this.marker = new Marker(this.rows, (hex) => new driver.ObjectId(hex))
    this.state = new VersionState(database, model, this.rows, this.marker, {
      long: this.long,
      description,
      turns: traits.hasCompareAndSet ? undefined : turns,
    })
    this.byKeys = new ByKeys(this.rows, this.marker, isFerret)
    this.bulk = new Bulk(this.rows, isFerret ? lanesMax : 1)
    this.update = isFerret ? 'updateMany' : 'updateOne'
  }

  readonly long = (value: number): Long => this.opened.driver.Long.fromNumber(value)

  /** What the server can hold. */
  get holdable(): Holdable {
    const { traits, driver } = this.opened
    const isFerret = traits.server === 'ferretdb'
    return {
      documentBytesMax: traits.documentBytesMax,
      nestsArrays: !isFerret,
      holdsNull: !isFerret,
      bytesOf: (document) => driver.BSON.calculateObjectSize(document),
    }
  }

  /** How many keys are parked: of a state that may not know, they are counted. */
  async parkedCount({ parked, uncounted }: { readonly parked: number; readonly uncounted: boolean }): Promise<number> {
    return uncounted ? this.countParked() : parked
  }

  /** Keys that are parked, as they are now. */
  async countParked(): Promise<number> {
    return this.rows.countDocuments(isParked)
  }
}

/** As the index on the field answers it. */
export const isParked = { 'parked.position': { $exists: true } }
