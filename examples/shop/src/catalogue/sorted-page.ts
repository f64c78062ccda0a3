import { compareText, InvalidInputError } from 'headwater'
import { z } from 'zod'
import { relevance } from './collect.ts'
import type { CatalogueRow, Found, Wanted } from './wanted.ts'

/** Where a row stands in an order. */
type Place = readonly (string | number)[]

/** One page of rows that are all here, in the order that is wanted, and where it ends. */
export function sortedPage(rows: readonly CatalogueRow[], wanted: Wanted): Found {
  const { limit, after, sort } = wanted
  const direction = sort === '-price' ? -1 : 1
  const from = after == null ? undefined : placeIn(after, wanted)
  const placed = rows
    .map((row) => ({ row, place: placeOf(row, wanted) }))
    .filter(({ place }) => from === undefined || direction * compare(place, from) > 0)
    .sort((a, b) => direction * compare(a.place, b.place))
  const last = placed[limit - 1]
  return {
    items: placed.slice(0, limit).map(({ row }) => row),
    next: last && placed.length > limit ? Buffer.from(JSON.stringify([sort, ...last.place])).toString('base64url') : null,
  }
}

function placeOf(row: CatalogueRow, { sort, words }: Wanted): Place {
  if (sort === 'price' || sort === '-price') return [row.price, row.product_id]
  if (sort === 'name') return [row.name, row.product_id]
  return [-relevance(row, words ?? []), row.name, row.product_id]
}

function compare(a: Place, b: Place): number {
  for (const [i, mine] of a.entries()) {
    const other = b[i]
    const difference = typeof mine === 'number' ? mine - Number(other) : compareText(mine, String(other))
    if (difference !== 0) return difference
  }
  return 0
}

const encoded = z
  .array(z.union([z.string(), z.number()]))
  .min(3)
  .max(4)

function placeIn(cursor: string, { sort }: Wanted): Place {
  const parsed = encoded.safeParse(parseJson(Buffer.from(cursor, 'base64url').toString()))
  const [kind, ...place] = parsed.data ?? []
  if (kind !== sort) throw new InvalidInputError('catalogue', [{ path: ['after'], message: 'is no "next" of a page of this query' }])
  return place
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}
