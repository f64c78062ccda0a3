/** What all random choices of a fault test come from. Its suite has it in its name; HEADWATER_SEED replays it. */
export const seed = Number(process.env.HEADWATER_SEED ?? process.env.SEED ?? Date.now() % 2 ** 31)

/** Whether the long forms are wanted: `npm run test:faults`. */
export const isLong = process.env.HEADWATER_FAULTS === 'long'

/** Whole numbers from 0 and below a bound, the same ones for the same seed. */
export type Random = (below: number) => number

export function seeded(from: number): Random {
  let state = from & 0x7fffffff
  return (below) => {
    state = (Math.imul(state, 1103515245) + 12345) & 0x7fffffff
    return (state >>> 8) % below
  }
}

/** In another order, which the seed decides. */
export function shuffled<T>(items: readonly T[], random: Random): readonly T[] {
  const left = [...items]
  return items.map(() => left.splice(random(left.length), 1)[0] as T)
}
