import fc from 'fast-check'
import { expect, test } from 'vitest'
import { AppendQueue } from '../src/log/append-queue.ts'
import { readyAppend } from '../src/log/ready-append.ts'
import { event } from './log/log-place.ts'

const requests = fc.array(
  fc.record({
    streams: fc.uniqueArray(fc.integer({ min: 0, max: 5 }), { maxLength: 3 }),
    key: fc.option(fc.integer({ min: 0, max: 3 }), { nil: undefined }),
    events: fc.integer({ min: 0, max: 120 }),
  }),
  { maxLength: 40 },
)

test('groups keep the order of what touches the same, are disjoint, within the limits, and lose nothing', () => {
  fc.assert(
    fc.property(requests, fc.integer({ min: 1, max: 40 }), (all, most) => {
      const queue = new AppendQueue<{
        readonly ready: ReturnType<typeof readyAppend>
        readonly n: number
        readonly touches: readonly string[]
      }>()
      for (const [n, { streams, key, events }] of all.entries()) {
        const ready = readyAppend({
          streams: streams.map((stream) => ({
            aggregate: 'a',
            stream: `${stream}`,
            expected: 'any',
            events: Array.from({ length: events }, () => event()),
          })),
          ...(key !== undefined && { answer: { command: 'c', key: `${key}`, inputHash: 'h' } }),
        })
        queue.push({ ready, n, touches: [...streams.map((stream) => `s${stream}`), ...(key === undefined ? [] : [`k${key}`])] })
      }
      const last = new Map<string, number>()
      let taken = 0
      // Two groups are under way at a time; the older one ends first.
      let before: ReturnType<typeof queue.take> = []
      while (queue.length > 0 || before.length > 0) {
        const group = queue.take(most)
        expect(group.length).toBeLessThanOrEqual(most)
        if (before.length === 0) expect(group.length).toBeGreaterThan(0)
        const touches = [...before, ...group].flatMap((each) => each.touches)
        expect(new Set(touches).size).toBe(touches.length)
        queue.ended(before)
        before = group
        const events = group.reduce((sum, { ready }) => sum + ready.events.length, 0)
        expect(group.length === 1 || events <= 500).toBe(true)
        for (const each of group) {
          for (const name of each.touches) {
            expect(last.get(name) ?? -1).toBeLessThan(each.n)
            last.set(name, each.n)
          }
        }
        taken += group.length
      }
      expect(taken).toBe(all.length)
    }),
  )
})
