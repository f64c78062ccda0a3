import { jsonFault } from '../internal/json.ts'

const bytesMax = 256
const forbidden = new Set(['__proto__', 'constructor', 'prototype'])

/** What is wrong with the id of a stream, or undefined. */
export function streamIdFault(id: unknown): string | undefined {
  if (typeof id !== 'string') return `is ${id === null ? 'null' : `of type ${typeof id}`} instead of text`
  const bytes = Buffer.byteLength(id)
  if (bytes < 1 || bytes > bytesMax) return `has ${bytes} bytes instead of 1 to ${bytesMax}`
  if (forbidden.has(id)) return `${id} is not allowed`
  return jsonFault(id)?.message
}
