import { manualClock } from 'headwater/testing'
import { expect, test } from 'vitest'

test('time moves only by hand, and sleeps end in the order of their times', async () => {
  const clock = manualClock(new Date(1000))
  const log: string[] = []
  const sleep = (name: string, ms: number) => clock.sleep(ms).then(() => log.push(`${name} at ${clock.now()}`))
  void sleep('late', 300)
  void sleep('early', 100)
  void sleep('early too', 100)
  expect([clock.now(), clock.sleeping]).toEqual([1000, 3])
  await clock.advance(99)
  expect([clock.now(), log]).toEqual([1099, []])
  await clock.advance(1)
  expect(log).toEqual(['early at 1100', 'early too at 1100'])
  await clock.advance(500)
  expect(log.at(-1)).toBe('late at 1300')
  expect([clock.now(), clock.sleeping]).toEqual([1600, 0])
})

test('what a sleeper sleeps for again counts from its own waking', async () => {
  const clock = manualClock(0)
  const times: number[] = []
  const loop = async () => {
    for (;;) {
      await clock.sleep(100)
      times.push(clock.now())
    }
  }
  void loop()
  await clock.advance(350)
  expect(times).toEqual([100, 200, 300])
})

test('a sleep ends at once when its signal is aborted', async () => {
  const clock = manualClock()
  const stop = new AbortController()
  const asleep = clock.sleep(1000, stop.signal)
  stop.abort()
  await asleep
  await clock.sleep(1000, stop.signal)
  expect(clock.sleeping).toBe(0)
})
