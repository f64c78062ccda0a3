import { UsageError } from '../errors.ts'
import { columnText, columnValue } from './column-value.ts'
import type { ViewVersion } from './registry.ts'

type Keyed = Pick<ViewVersion, 'name' | 'shape'>

/**
 * The text by which a store, marks and parked keys know a row: of one column PostgreSQL's own text, of several a JSON array of them.
 * @throws {UsageError} a key that is not complete, or no value of its column's type
 */
export function storedKey(version: Keyed, key: unknown): string {
  const { key: columns } = version.shape
  const values = columns.length === 1 ? [key] : columns.map((column) => (isObject(key) ? key[column] : undefined))
  if (values.some((value) => value === undefined || value === null)) {
    const expected = columns.length === 1 ? `the value of ${columns[0]}` : `an object of ${columns.join(', ')}`
    throw new UsageError(`${version.name}: the key is not complete; it is ${expected}`)
  }
  return textOf(
    columns.map((column, i) => {
      const type = typeOf(version, column)
      return columnText(type, columnValue(type, values[i]))
    }),
  )
}

/** The same of a key's text as a mark may carry it, where equal values may have several. What is no such text is left as it is. */
export function canonicalKey(version: Keyed, text: string): string {
  const { key: columns } = version.shape
  try {
    const texts: unknown = columns.length === 1 ? [text] : JSON.parse(text)
    if (!Array.isArray(texts)) return text
    return textOf(
      columns.map((column, i) => {
        const type = typeOf(version, column)
        return columnText(type, columnValue(type, texts[i]))
      }),
    )
  } catch {
    return text
  }
}

/** As PostgreSQL writes a jsonb array of texts. */
function textOf(texts: readonly string[]): string {
  return texts.length === 1 ? (texts[0] ?? '') : `[${texts.map((text) => JSON.stringify(text)).join(', ')}]`
}

function typeOf({ shape }: Keyed, column: string): string {
  return shape.columns.find(({ name }) => name === column)?.type ?? 'text'
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null
}
