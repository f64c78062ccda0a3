import { describe, expect, test } from 'vitest'
import type { Folder, LeasedRange } from '../../src/projection/lease.ts'
import { rangeId, share } from '../../src/projection/share.ts'
import { seed, seeded } from '../support/seed.ts'

function ranges(counts: readonly number[], owner: (projection: number, first: number) => string | null = () => null): LeasedRange[] {
  return counts.flatMap((count, projection) =>
    Array.from({ length: count }, (_, first) => {
      const own = owner(projection, first)
      return { projection, first, last: first, owner: own, free: own === null }
    }),
  )
}

const folders = (ids: string, runs: readonly number[]): Folder[] => [...ids].map((id) => ({ id, runs: new Set(runs) }))

function sizes(shares: ReadonlyMap<string, string>, of = ''): readonly number[] {
  const counts = new Map<string, number>()
  for (const [range, id] of shares) if (range.startsWith(of)) counts.set(id, (counts.get(id) ?? 0) + 1)
  return [...counts.values()].sort((a, b) => b - a)
}

describe(`sharing ranges out, seed ${seed}`, () => {
  test('processes that can run the same get the same, give or take one', () => {
    expect(sizes(share(ranges([1, 1, 1, 1]), folders('abc', [0, 1, 2, 3])))).toEqual([2, 1, 1])
    expect(sizes(share(ranges([1, 1, 1, 1, 1, 1]), folders('abcd', [0, 1, 2, 3, 4, 5])))).toEqual([2, 2, 1, 1])
    expect(sizes(share(ranges([9]), folders('abcd', [0])))).toEqual([3, 2, 2, 2])
    const divided = share(ranges([2, 1, 1]), folders('ab', [0, 1, 2]))
    expect([sizes(divided), sizes(divided, '0:')]).toEqual([
      [2, 2],
      [1, 1],
    ])
  })

  test('a divided version is taken apart when one process has all of it, though it has no more ranges than others', () => {
    const shares = share(
      ranges([2, 1, 1], (projection) => (projection === 0 ? 'a' : 'b')),
      folders('ab', [0, 1, 2]),
    )
    expect([sizes(shares), sizes(shares, '0:')]).toEqual([
      [2, 2],
      [1, 1],
    ])
  })

  test('who cannot run a version is not counted for it', () => {
    const own = [...folders('a', [0, 1, 2]), ...folders('b', [3])]
    const shares = share(
      ranges([1, 1, 1, 1], () => 'a').map((range) => (range.projection === 3 ? { ...range, owner: null, free: true } : range)),
      own,
    )
    expect(Object.fromEntries(shares)).toEqual({ '0:0': 'a', '1:0': 'a', '2:0': 'a', '3:0': 'b' })
    expect(share(ranges([1]), folders('a', [7])).size).toBe(0)
  })

  test('a range that is another one’s who does not take part is left to him', () => {
    expect([
      ...share(
        ranges([2], (_, first) => (first === 0 ? 'gone' : null)),
        folders('a', [0]),
      ),
    ]).toEqual([['0:1', 'a']])
  })

  test('processes that come and go, each of which acts on what it sees at its own moment, come to rest', () => {
    const random = seeded(seed)
    for (let round = 0; round < 60; round++) {
      const counts = Array.from({ length: 1 + random(6) }, () => 1 + random(random(3) === 0 ? 16 : 2))
      const all = Array.from({ length: 1 + random(5) }, (_, i): Folder => {
        const runs = counts.flatMap((_count, projection) => (round % 2 === 0 || random(4) > 0 ? [projection] : []))
        return { id: 'abcde'[i] ?? '', runs: new Set(runs) }
      })
      const owners = new Map(ranges(counts).map((range) => [rangeId(range), undefined as string | undefined]))
      const look = () => ranges(counts, (projection, first) => owners.get(rangeId({ projection, first })) ?? null)
      /** One process does what it would: gives and takes, all of it or some. */
      const act = (id: string, shares: ReadonlyMap<string, string>): boolean => {
        let acted = false
        for (const [range, to] of shares) {
          const owner = owners.get(range)
          if (owner === id && to !== id) owners.set(range, undefined)
          else if (owner === undefined && to === id) owners.set(range, id)
          else continue
          acted = true
          if (random(3) === 0) break
        }
        return acted
      }
      for (const joined of all.map((_, i) => all.slice(0, i + 1))) {
        let idle = 0
        for (let steps = 0; idle < 20 * joined.length; steps++) {
          expect(steps, `round ${round}`).toBeLessThan(20_000)
          // What it saw may be old by the time it acts.
          const seen = share(look(), joined)
          const late = joined[random(joined.length)]?.id ?? ''
          const first = random(2) === 0 && act(joined[random(joined.length)]?.id ?? '', share(look(), joined))
          idle = act(late, seen) || first ? 0 : idle + 1
        }
        for (const range of look()) {
          const could = joined.filter(({ runs }) => runs.has(range.projection)).map(({ id }) => id)
          if (could.length === 0) expect(range.owner).toBeNull()
          else expect(could).toContain(range.owner)
        }
        if (round % 2 === 1) continue
        const shares = new Map([...owners].map(([range, owner]) => [range, owner ?? '']))
        const loads = joined.map(({ id }) => [...shares.values()].filter((owner) => owner === id).length)
        expect(Math.max(...loads) - Math.min(...loads)).toBeLessThan(2)
      }
    }
  })
})
