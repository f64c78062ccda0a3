import type { catalogue, catalogueFacets, catalogueWords } from '../read-models.ts'

export interface CatalogueRow {
  readonly product_id: string
  readonly name: string
  readonly category: string
  readonly department: string
  readonly price: number
  readonly stock: number
  readonly available: boolean
}

/** What is looked for, and in which order. */
export interface Wanted {
  /** Undefined: no text was given. None: a text without a word in it, which nothing fits. */
  readonly words: readonly string[] | undefined
  readonly category: string | undefined
  readonly minPrice: number
  readonly maxPrice: number
  readonly sort: 'relevance' | 'price' | '-price' | 'name'
  readonly limit: number
  readonly after: string | null | undefined
}

/** The read models that searching reads. Nothing but `get`, `getMany` and `find` is asked of them, which mean the same in every store. */
export interface CatalogueReaders {
  readonly catalogue: (typeof catalogue)['~reader']
  readonly catalogueWords: (typeof catalogueWords)['~reader']
  readonly catalogueFacets: (typeof catalogueFacets)['~reader']
}

/** A page of what was found. */
export interface Found {
  readonly items: readonly CatalogueRow[]
  readonly next: string | null
}

/** As a condition of `find`: a department with everything in it, or one category of it. */
export function placeOf(category: string | undefined): { readonly category?: string; readonly department?: string } {
  if (category === undefined) return {}
  return category.includes('/') ? { category } : { department: category }
}

export function isInPlace(row: { readonly category: string; readonly department: string }, category: string | undefined): boolean {
  return category === undefined || row.category === category || row.department === category
}
