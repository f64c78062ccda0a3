import type { Folder, LeasedRange } from './lease.ts'

/**
 * Shares ranges out among the processes that can take them: each gets as many as the others, give or take one, and of each version too, as far as they
 * can run the same. What is well shared stays where it is: a range changes hands only where that evens something out, so that what every process reckons
 * for itself, from what it saw at its own moment, comes to rest. Gives for each range, as {@link rangeId}, who is to have it; nothing for one that
 * nobody can take, or that a process holds which does not take part.
 */
export function share(ranges: readonly LeasedRange[], folders: readonly Folder[]): ReadonlyMap<string, string> {
  const deal = new Deal(folders)
  const open: LeasedRange[] = []
  for (const range of ranges) {
    if (range.free || range.owner === null) open.push(range)
    else deal.hold(range, range.owner)
  }
  for (const range of open) deal.give(range)
  while (deal.evenOut()) {
    // Until nothing is gained any more.
  }
  return deal.shares()
}

export function rangeId({ projection, first }: { readonly projection: number; readonly first: number }): string {
  return `${projection}:${first}`
}

/** What one process has, by version. */
class Hand {
  readonly folder: Folder
  size = 0
  readonly #byProjection = new Map<number, LeasedRange[]>()

  constructor(folder: Folder) {
    this.folder = folder
  }

  count(projection: number): number {
    return this.#byProjection.get(projection)?.length ?? 0
  }

  add(range: LeasedRange): void {
    const own = this.#byProjection.get(range.projection)
    if (own) own.push(range)
    else this.#byProjection.set(range.projection, [range])
    this.size++
  }

  /** The last of a version's. */
  pop(projection: number): LeasedRange | undefined {
    const range = this.#byProjection.get(projection)?.pop()
    if (range) this.size--
    return range
  }

  all(): readonly LeasedRange[] {
    return [...this.#byProjection.values()].flat()
  }

  /** The version of which it has more than another that can take it, by most; and by how many. */
  mostBefore(other: Hand): { readonly projection: number; readonly more: number } | undefined {
    let most: { projection: number; more: number } | undefined
    for (const [projection, { length }] of this.#byProjection) {
      if (length === 0 || !other.folder.runs.has(projection)) continue
      const more = length - other.count(projection)
      if (!most || more > most.more || (more === most.more && projection < most.projection)) most = { projection, more }
    }
    return most
  }
}

class Deal {
  readonly #hands: readonly Hand[]

  constructor(folders: readonly Folder[]) {
    // Everybody reckons in the same order, and so to the same end.
    this.#hands = [...folders].sort((a, b) => (a.id < b.id ? -1 : 1)).map((folder) => new Hand(folder))
  }

  hold(range: LeasedRange, owner: string): void {
    this.#hands.find(({ folder }) => folder.id === owner && folder.runs.has(range.projection))?.add(range)
  }

  /** To whoever can take it and has least. */
  give(range: LeasedRange): void {
    let least: Hand | undefined
    for (const hand of this.#hands) {
      if (!hand.folder.runs.has(range.projection)) continue
      const less = least && (hand.size - least.size || hand.count(range.projection) - least.count(range.projection))
      if (less === undefined || less < 0) least = hand
    }
    least?.add(range)
  }

  /** One step, if one makes it more even. Each lowers the sum of squares of what everybody has, or leaves it and lowers that of some version. */
  evenOut(): boolean {
    for (const from of this.#hands) for (const to of this.#hands) if (from !== to && this.#even(from, to)) return true
    return false
  }

  #even(from: Hand, to: Hand): boolean {
    const given = from.mostBefore(to)
    if (!given) return false
    const more = from.size - to.size
    if (more >= 2 || (more === 1 && given.more >= 2)) return move(from, to, given.projection)
    const back = to.mostBefore(from)
    // One of each against the other.
    return back !== undefined && given.more + back.more > 2 && move(from, to, given.projection) && move(to, from, back.projection)
  }

  shares(): ReadonlyMap<string, string> {
    return new Map(this.#hands.flatMap((hand) => hand.all().map((range) => [rangeId(range), hand.folder.id])))
  }
}

function move(from: Hand, to: Hand, projection: number): boolean {
  const range = from.pop(projection)
  if (range) to.add(range)
  return range !== undefined
}
