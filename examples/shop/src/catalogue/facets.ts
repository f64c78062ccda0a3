import { type Band, bandOf, bands } from '../bands.ts'
import { everyRow, withPrices } from './collect.ts'
import { type CatalogueReaders, type CatalogueRow, isInPlace, type Wanted } from './wanted.ts'

/** How many products there are by category and by price. Each counts what the other's choice leaves, so one sees what else could be chosen. */
export interface Facets {
  readonly categories: readonly { readonly value: string; readonly count: number }[]
  readonly prices: readonly (Band & { readonly count: number })[]
}

type Choice = Pick<Wanted, 'category' | 'minPrice' | 'maxPrice'>

/** Counts rows that are all here. */
export function countedFacets(rows: readonly CatalogueRow[], { category, minPrice, maxPrice }: Choice): Facets {
  const categories = new Map<string, number>()
  const prices = bands.map(() => 0)
  for (const row of rows) {
    if (row.price >= minPrice && row.price <= maxPrice) add(categories, row.category, 1)
    if (isInPlace(row, category)) prices[bandOf(row.price)] = (prices[bandOf(row.price)] ?? 0) + 1
  }
  return facetsOf(categories, prices)
}

/** Counts the whole catalogue: from what is counted already, and by looking at products only where a price lies within a band. */
export async function catalogueFacetsOf(readers: CatalogueReaders, { category, minPrice, maxPrice }: Choice): Promise<Facets> {
  const counted = await everyRow((after, limit) => readers.catalogueFacets.find({ limit, after }))
  const prices = bands.map((_band, i) => counted.reduce((sum, row) => sum + (isInPlace(row, category) ? (row.products[i] ?? 0) : 0), 0))
  const categories = new Map<string, number>()
  for (const [i, band] of bands.entries()) {
    const [from, to] = [Math.max(band.from, minPrice), Math.min(band.to, maxPrice)]
    if (from > to) continue
    if (from === band.from && to === band.to) for (const row of counted) add(categories, row.category, row.products[i] ?? 0)
    else
      for (const row of await withPrices(readers, { category: undefined, minPrice: from, maxPrice: to })) add(categories, row.category, 1)
  }
  return facetsOf(categories, prices)
}

function add(counts: Map<string, number>, value: string, count: number): void {
  if (count > 0) counts.set(value, (counts.get(value) ?? 0) + count)
}

function facetsOf(categories: ReadonlyMap<string, number>, prices: readonly number[]): Facets {
  return {
    categories: [...categories].sort(([a], [b]) => (a < b ? -1 : 1)).map(([value, count]) => ({ value, count })),
    prices: bands.map((band, i) => ({ ...band, count: prices[i] ?? 0 })).filter(({ count }) => count > 0),
  }
}
