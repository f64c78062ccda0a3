/**
 * Read models in MongoDB (5.0 or newer, alone or a replica set), or in a server that speaks like it, such as FerretDB.
 *
 * @module
 */

export type { ServerTraits } from './connection.ts'
export type { RowDocument } from './document.ts'
export { type MongodbNative, type MongodbOptions, type MongodbStore, mongodb } from './mongodb.ts'
