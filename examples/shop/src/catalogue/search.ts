import { priceMax } from '../bands.ts'
import { withPrices, withWords } from './collect.ts'
import { catalogueFacetsOf, countedFacets, type Facets } from './facets.ts'
import { sortedPage } from './sorted-page.ts'
import { type CatalogueReaders, type Found, isInPlace, placeOf, type Wanted } from './wanted.ts'

/**
 * A page of the catalogue with its facets. Where a declared index has the order that is wanted, the page is read from it, however far down it lies. Words,
 * and names within a range of prices, are in no index's order: there everything that fits is collected and sorted here.
 */
export async function search(readers: CatalogueReaders, wanted: Wanted): Promise<Found & { readonly facets: Facets }> {
  const { words, category, minPrice, maxPrice, sort } = wanted
  if (words) {
    const rows = await withWords(readers, words)
    const chosen = rows.filter((row) => isInPlace(row, category) && row.price >= minPrice && row.price <= maxPrice)
    return { ...sortedPage(chosen, wanted), facets: countedFacets(rows, wanted) }
  }
  const facets = await catalogueFacetsOf(readers, wanted)
  const isPriced = minPrice > 0 || maxPrice < priceMax
  if (isPriced && (sort === 'name' || sort === 'relevance')) {
    return { ...sortedPage(await withPrices(readers, wanted), wanted), facets }
  }
  return { ...(await listed(readers, wanted, isPriced)), facets }
}

async function listed({ catalogue }: CatalogueReaders, wanted: Wanted, isPriced: boolean): Promise<Found> {
  const { category, minPrice, maxPrice, sort, limit, after } = wanted
  const where = { ...placeOf(category), ...(isPriced && { price: { gte: minPrice, lte: maxPrice } }) }
  if (sort === 'price' || sort === '-price') {
    return await catalogue.find({ where, orderBy: { price: sort === 'price' ? 'asc' : 'desc' }, limit, after })
  }
  return await catalogue.find({ where, orderBy: { name: 'asc' }, limit, after })
}
