import { wordsOf } from '../words.ts'
import { type CatalogueReaders, type CatalogueRow, placeOf, type Wanted } from './wanted.ts'

const pageSize = 1000
/** Greater than whatever begins with the text before it. */
const end = '\u{10ffff}'

interface Paged<Row> {
  readonly items: readonly Row[]
  readonly next: string | null
}

/** All rows of a find, a page at a time. */
export async function everyRow<Row>(find: (after: string | undefined, limit: number) => Promise<Paged<Row>>): Promise<readonly Row[]> {
  const rows: Row[] = []
  let after: string | undefined
  do {
    const page: Paged<Row> = await find(after, pageSize)
    rows.push(...page.items)
    after = page.next ?? undefined
  } while (after !== undefined)
  return rows
}

/** Products whose names have all the words, or words that begin so. */
export async function withWords(
  { catalogue, catalogueWords }: CatalogueReaders,
  words: readonly string[],
): Promise<readonly CatalogueRow[]> {
  let ids: ReadonlySet<string> | undefined
  for (const word of words) {
    const begun = { gte: word, lt: `${word}${end}` }
    const found = await everyRow((after, limit) => catalogueWords.find({ where: { word: begun }, orderBy: { word: 'asc' }, limit, after }))
    ids = new Set(found.map(({ product_id }) => product_id).filter((id) => ids === undefined || ids.has(id)))
    if (ids.size === 0) return []
  }
  const all = [...(ids ?? [])]
  const rows: CatalogueRow[] = []
  for (let start = 0; start < all.length; start += pageSize) rows.push(...(await catalogue.getMany(all.slice(start, start + pageSize))))
  return rows
}

/** Products of a place and a range of prices. */
export async function withPrices(
  { catalogue }: CatalogueReaders,
  { category, minPrice, maxPrice }: Pick<Wanted, 'category' | 'minPrice' | 'maxPrice'>,
): Promise<readonly CatalogueRow[]> {
  const where = { ...placeOf(category), price: { gte: minPrice, lte: maxPrice } }
  return await everyRow((after, limit) => catalogue.find({ where, orderBy: { price: 'asc' }, limit, after }))
}

/** How well a name fits: how many of the words stand in it as they are. */
export function relevance({ name }: CatalogueRow, words: readonly string[]): number {
  const own = new Set(wordsOf(name))
  return words.filter((word) => own.has(word)).length
}
