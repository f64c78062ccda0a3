import type { RowChange } from '../../index.ts'

/** While a script runs the server serves nobody else, so one of them writes no more than this. */
const rowsMax = 500
const bytesMax = 256 * 1024

/** The changes in parts of at most 500 rows and 256 KB (a row beyond that is a part of its own). There is at least one part. */
export function partsOf(changes: readonly RowChange[]): readonly (readonly RowChange[])[] {
  const parts: RowChange[][] = [[]]
  let bytes = 0
  for (const change of changes) {
    const size = change.key.length + (change.row?.length ?? 0) + change.index.reduce((sum, text) => sum + text.length, 0)
    const part = parts.at(-1)
    if (part && (part.length === 0 || (part.length < rowsMax && bytes + size <= bytesMax))) {
      part.push(change)
      bytes = part.length === 1 ? size : bytes + size
    } else {
      parts.push([change])
      bytes = size
    }
  }
  return parts
}
