import { expect, test } from 'vitest'
import { Repeats } from '../src/internal/repeats.ts'

test('what keeps failing is a warning when it begins and once a minute, and says for how long when it is over', () => {
  const repeats = new Repeats()
  expect(repeats.over(0)).toBeUndefined()
  expect([0, 200, 59_999, 60_000, 60_200, 119_999, 120_000].map((now) => repeats.failed(now))).toEqual([
    ...['warn', 'debug', 'debug', 'warn', 'debug', 'debug', 'warn'],
  ])
  expect(repeats.over(130_000)).toBe(130_000)
  expect(repeats.over(130_001)).toBeUndefined()
  expect(repeats.failed(131_000)).toBe('warn')
})
