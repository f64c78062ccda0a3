/** A value that holds for the whole numbers from `first` to `last`, both included. */
export interface Run<T> {
  readonly first: number
  readonly last: number
  readonly value: T
}

type Same<T> = (a: T, b: T) => boolean

/** The parts of the runs that lie inside a range, ascending. */
export function runsWithin<T>(runs: readonly Run<T>[], first: number, last: number): readonly Run<T>[] {
  return runs
    .filter((run) => run.last >= first && run.first <= last)
    .map((run) => ({ first: Math.max(run.first, first), last: Math.min(run.last, last), value: run.value }))
    .sort((a, b) => a.first - b.first)
}

/** Whether every number of the range has this value; undefined: whether none has any. */
export function allWithin<T>(runs: readonly Run<T>[], first: number, last: number, value: T | undefined, same: Same<T>): boolean {
  const inside = runsWithin(runs, first, last)
  if (value === undefined) return inside.length === 0
  return coveredCount(inside) === last - first + 1 && inside.every((run) => same(run.value, value))
}

/** How many numbers have a value. */
export function coveredCount(runs: readonly Run<unknown>[]): number {
  return runs.reduce((sum, run) => sum + run.last - run.first + 1, 0)
}

/** The runs with one of them laid over the others; neighbours with the same value are joined. */
export function withRun<T>(runs: readonly Run<T>[], added: Run<T>, same: Same<T>): readonly Run<T>[] {
  const before = runsWithin(runs, Number.NEGATIVE_INFINITY, added.first - 1)
  const behind = runsWithin(runs, added.last + 1, Number.POSITIVE_INFINITY)
  const joined: Run<T>[] = []
  for (const run of [...before, added, ...behind]) {
    const last = joined.at(-1)
    if (last && last.last + 1 === run.first && same(last.value, run.value)) joined[joined.length - 1] = { ...last, last: run.last }
    else joined.push(run)
  }
  return joined
}
