const depthMax = 64
const forbiddenKeys = new Set(['__proto__', 'constructor', 'prototype'])

/** What is wrong with a value that should be stored as JSON, or undefined. */
export interface JsonFault {
  readonly path: readonly (string | number)[]
  readonly message: string
}

/**
 * Finds what would poison a reader of this value later: `\u0000` and lone surrogates (PostgreSQL refuses them in jsonb), nesting deeper
 * than 64, and the keys that change prototypes. Dates and other class instances are left to the schema.
 */
export function jsonFault(value: unknown): JsonFault | undefined {
  const found = faultIn(value, 0)
  return found && { path: found.steps.reverse(), message: found.message }
}

/** The way to it is told from its end. */
interface Found {
  readonly steps: (string | number)[]
  readonly message: string
}

function faultIn(value: unknown, depth: number): Found | undefined {
  if (typeof value === 'string') return faultInText(value)
  if (typeof value !== 'object' || value === null) return undefined
  if (depth >= depthMax) return { steps: [], message: `nested deeper than ${depthMax}` }
  if (Array.isArray(value)) {
    for (let i = 0; i < value.length; i++) {
      const found = faultIn(value[i], depth + 1)
      if (found) return below(i, found)
    }
    return undefined
  }
  for (const key of Object.keys(value)) {
    const found = faultInMember(key, (value as Record<string, unknown>)[key], depth)
    if (found) return below(key, found)
  }
  return undefined
}

function faultInMember(key: string, value: unknown, depth: number): Found | undefined {
  if (forbiddenKeys.has(key)) return { steps: [], message: `the key ${key} is not allowed` }
  return faultInText(key) ?? faultIn(value, depth + 1)
}

function below(step: string | number, found: Found): Found {
  found.steps.push(step)
  return found
}

function faultInText(text: string): Found | undefined {
  if (text.includes('\u0000')) return { steps: [], message: 'contains the character U+0000, which no database here can keep' }
  if (!text.isWellFormed()) return { steps: [], message: 'contains half of a surrogate pair, which is no valid text' }
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
