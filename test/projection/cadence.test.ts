import { manualClock } from 'headwater/testing'
import { expect, test } from 'vitest'
import { Cadence } from '../../src/projection/cadence.ts'

const few = { changed: 1, changedBytes: 100 }

/** The milliseconds at which rows are written by somebody who is behind for that long. */
function writes(cadence: Cadence, clock: ReturnType<typeof manualClock>, ms: number): readonly number[] {
  const began = clock.now()
  const found: number[] = []
  while (clock.now() - began < ms) {
    clock.advance(50)
    if (!cadence.isDue(few)) continue
    cadence.written()
    found.push(clock.now() - began)
  }
  return found
}

test('who is behind writes the more seldom the longer, and never later than after as long again', () => {
  const clock = manualClock()
  const cadence = new Cadence(
    () => clock.now(),
    () => false,
  )
  expect(writes(cadence, clock, 10_000)).toEqual([250, 500, 1000, 2000, 4000, 6000, 8000, 10_000])
  cadence.begin()
  expect(writes(cadence, clock, 1_000)).toEqual([250, 500, 1000])
})

test('a version that is being built may take its time', () => {
  const clock = manualClock()
  const cadence = new Cadence(
    () => clock.now(),
    () => true,
  )
  expect(writes(cadence, clock, 10_000)).toEqual([3000, 6000, 9000])
})

test('no more is held back than fits into memory', () => {
  for (const building of [false, true]) {
    const cadence = new Cadence(
      () => 0,
      () => building,
    )
    expect(cadence.isDue({ changed: 19_999, changedBytes: 2 ** 20 })).toBe(false)
    expect(cadence.isDue({ changed: 20_000, changedBytes: 2 ** 20 })).toBe(!building)
    expect(cadence.isDue({ changed: 100_000, changedBytes: 2 ** 20 })).toBe(true)
    expect(cadence.isDue({ changed: 1, changedBytes: 32 * 2 ** 20 })).toBe(true)
  }
})
