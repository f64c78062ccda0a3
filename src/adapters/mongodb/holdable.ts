/** What a document needs beside the row. */
const overhead = 64 * 1024

/** What a server can hold. */
export interface Holdable {
  readonly documentBytesMax: number
  /** FerretDB 1 refuses an array that is an element of another. */
  readonly nestsArrays: boolean
  bytesOf(row: unknown): number
}

/**
 * Why a row cannot be a document that users can ask for by field, or undefined. Dots and dollars in names mean something else in MongoDB's own
 * language; newer servers store them, but no query reaches them.
 */
export function whyNotHeld(row: unknown, { documentBytesMax, nestsArrays, bytesOf }: Holdable): string | undefined {
  const name = nameFault(row, '', nestsArrays)
  if (name) return `the row cannot be a MongoDB document: ${name}`
  const bytes = bytesOf({ row })
  if (bytes <= documentBytesMax - overhead) return undefined
  return `the row cannot be a MongoDB document: it takes ${bytes} bytes of the ${documentBytesMax - overhead} that there are`
}

function nameFault(value: unknown, path: string, nestsArrays: boolean): string | undefined {
  if (typeof value !== 'object' || value === null) return undefined
  for (const [name, item] of Object.entries(value)) {
    const place = path ? `${path}.${name}` : name
    const fault = Array.isArray(value)
      ? Array.isArray(item) && !nestsArrays && 'is an array in an array, which this server does not hold'
      : nameReason(name)
    if (fault) return `${JSON.stringify(place)} ${fault}`
    const within = nameFault(item, place, nestsArrays)
    if (within) return within
  }
  return undefined
}

function nameReason(name: string): string | false {
  if (name.startsWith('$')) return 'has a name that begins with a dollar sign'
  if (name.includes('.')) return 'has a name with a dot in it'
  return name === '_bsontype' && 'has a name that the driver keeps for itself'
}
