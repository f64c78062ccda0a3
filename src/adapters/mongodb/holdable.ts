import type { Document } from 'mongodb'

/** What a document needs beside its key, its row and their index texts: mostly why it is parked. */
const overhead = 64 * 1024
/** What MongoDB promises to hold is 100; the row is a field of its document. */
const depthMax = 99

/** What a server can hold. */
export interface Holdable {
  readonly documentBytesMax: number
  /** FerretDB 1 refuses an array that is an element of another. */
  readonly nestsArrays: boolean
  /** FerretDB 1 keeps documents in PostgreSQL, which has no U+0000 in its texts. */
  readonly holdsNull: boolean
  bytesOf(document: Document): number
}

/**
 * Why a row cannot be a document that users can ask for by field, or undefined. Dots and dollars in names mean something else in MongoDB's own
 * language; newer servers store them, but no query reaches them. Half of a surrogate pair would be stored as another character.
 */
export function whyNotHeld(
  { _id, row, texts }: { readonly _id: string; readonly row: object; readonly texts: Readonly<Record<string, string>> },
  holdable: Holdable,
): string | undefined {
  const fault = faultWithin(row, { path: '', depth: 1 }, holdable) ?? faultWithin(texts, { path: 'an index text', depth: 1 }, holdable)
  if (fault) return `the row cannot be a MongoDB document: ${fault}`
  const bytes = holdable.bytesOf({ _id, row, texts })
  const room = holdable.documentBytesMax - overhead
  if (bytes <= room) return undefined
  return `the row cannot be a MongoDB document: it takes ${bytes} bytes of the ${room} that there are`
}

function faultWithin(value: unknown, at: { readonly path: string; readonly depth: number }, holdable: Holdable): string | undefined {
  if (typeof value === 'string') return faultOf(textReason(value, holdable.holdsNull), at.path)
  if (typeof value !== 'object' || value === null) return undefined
  if (at.depth > depthMax) return `it is nested more than ${depthMax} deep`
  for (const [name, item] of Object.entries(value)) {
    const path = at.path ? `${at.path}.${name}` : name
    const reason = Array.isArray(value)
      ? Array.isArray(item) && !holdable.nestsArrays && 'is an array in an array, which this server does not hold'
      : nameReason(name)
    const fault = faultOf(reason, path) ?? faultWithin(item, { path, depth: at.depth + 1 }, holdable)
    if (fault) return fault
  }
  return undefined
}

function faultOf(reason: string | false, path: string): string | undefined {
  return reason ? `${JSON.stringify(path)} ${reason}` : undefined
}

function nameReason(name: string): string | false {
  if (name.startsWith('$')) return 'has a name that begins with a dollar sign'
  if (name.includes('.')) return 'has a name with a dot in it'
  if (name === '_bsontype') return 'has a name that the driver keeps for itself'
  const reason = textReason(name, false)
  return reason && `has a name that ${reason}`
}

function textReason(text: string, holdsNull: boolean): string | false {
  if (!holdsNull && text.includes('\u0000')) return 'holds U+0000, which this server does not'
  return !text.isWellFormed() && 'holds half of a surrogate pair, which is no character'
}

const reasonMax = 10_000

/** Why a key is parked, as any server can hold it. */
export function holdableReason(reason: string): string {
  return reason.slice(0, reasonMax).replaceAll('\u0000', '\\u0000')
}
