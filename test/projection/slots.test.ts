import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { nothing } from '../../src/projection/fold.ts'
import { Slots } from '../../src/projection/slots.ts'

const row = (position: number) => ({ row: {}, position, version: null, parked: undefined })

describe('the keys that a projection knows while it folds', () => {
  test('are kept as long as there is room, and then nothing is known to be missing from the store any more', () => {
    const slots = new Slots(true)
    for (const key of ['a', 'b', 'c', 'd']) slots.add(key)
    slots.sweep(4)
    expect([slots.size, slots.complete]).toEqual([4, true])
    slots.add('e')
    slots.sweep(4)
    expect([slots.size, slots.complete]).toEqual([3, false])
  })

  test('are forgotten when nobody asked for them since the last sweep', () => {
    const slots = new Slots(true)
    for (let i = 0; i < 9; i++) slots.add(`k${i}`)
    slots.sweep(8)
    expect(slots.size).toBe(6)
    for (const key of ['k7', 'k8']) slots.get(key)
    for (const key of ['x', 'y', 'z']) slots.add(key)
    slots.sweep(8)
    expect(['k7', 'k8', 'x', 'y', 'z'].map((key) => slots.get(key)?.key)).toEqual(['k7', 'k8', 'x', 'y', 'z'])
    expect(slots.size).toBe(5)
  })

  test('are never forgotten before they are written', () => {
    fc.assert(
      fc.property(
        fc.array(fc.record({ key: fc.nat(60), state: fc.constantFrom('clean', 'changed', 'sent') }), { maxLength: 200 }),
        (steps) => {
          const slots = new Slots(true)
          const unwritten = new Set<string>()
          for (const [i, { key, state }] of steps.entries()) {
            const slot = slots.get(`${key}`) ?? slots.add(`${key}`)
            slot.entry = row(i + 1)
            slot.was = state === 'changed' ? nothing : undefined
            slot.isSent = state === 'sent'
            if (state === 'clean') unwritten.delete(slot.key)
            else unwritten.add(slot.key)
            slots.sweep(10)
            for (const waiting of unwritten) expect(slots.get(waiting)).toBeDefined()
          }
          expect(slots.size).toBeLessThanOrEqual(10 + unwritten.size)
        },
      ),
      { seed: Number(process.env.SEED ?? 7), numRuns: 300 },
    )
  })
})
