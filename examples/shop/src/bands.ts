/** The highest price, in cents. */
export const priceMax = 99_999_999

/** A range of prices, both ends included. */
export interface Band {
  readonly from: number
  readonly to: number
}

const starts = [0, 1000, 2500, 5000, 10_000, 25_000, 50_000, 100_000]

/** What the prices facet counts in: together they hold every price once. */
export const bands: readonly Band[] = starts.map((from, i) => ({ from, to: (starts[i + 1] ?? priceMax + 1) - 1 }))

/** The number of the band that holds a price. */
export function bandOf(price: number): number {
  return bands.findIndex(({ to }) => price <= to)
}
