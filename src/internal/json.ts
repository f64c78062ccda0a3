const depthMax = 64
const forbiddenKeys = new Set(['__proto__', 'constructor', 'prototype'])

/** What is wrong with a value that should be stored as JSON, or undefined. */
export interface JsonFault {
  readonly path: readonly (string | number)[]
  readonly message: string
}

const top: JsonFault['path'] = []

/**
 * Finds what would poison a reader of this value later: `\u0000` and lone surrogates (PostgreSQL refuses them in jsonb), nesting deeper
 * than 64, and the keys that change prototypes. Dates and other class instances are left to the schema.
 */
export function jsonFault(value: unknown, path: JsonFault['path'] = top): JsonFault | undefined {
  if (typeof value === 'string') return stringFault(value, path)
  if (typeof value !== 'object' || value === null) return undefined
  if (path.length >= depthMax) return { path, message: `nested deeper than ${depthMax}` }
  if (Array.isArray(value)) return firstFault(value.map((item, i) => () => jsonFault(item, [...path, i])))
  return firstFault(
    Object.entries(value).map(([key, item]) => () => {
      if (forbiddenKeys.has(key)) return { path: [...path, key], message: `the key ${key} is not allowed` }
      return stringFault(key, [...path, key]) ?? jsonFault(item, [...path, key])
    }),
  )
}

function firstFault(looks: readonly (() => JsonFault | undefined)[]): JsonFault | undefined {
  for (const look of looks) {
    const fault = look()
    if (fault) return fault
  }
  return undefined
}

function stringFault(text: string, path: readonly (string | number)[]): JsonFault | undefined {
  if (text.includes('\u0000')) return { path, message: 'contains the character U+0000, which no database here can keep' }
  if (!text.isWellFormed()) return { path, message: 'contains half of a surrogate pair, which is no valid text' }
  return undefined
}

/** JSON with the keys of every object in order, so that equal values have equal text. `undefined` members are left out, as in JSON. */
export function canonicalJson(value: unknown): string {
  return JSON.stringify(value, (_key, item: unknown) =>
    typeof item === 'object' && item !== null && !Array.isArray(item)
      ? Object.fromEntries(Object.entries(item).sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0)))
      : item,
  )
}
