import { describe, expect, test } from 'vitest'
import { StateCache } from '../src/command/state-cache.ts'

const held = (state: unknown, version = 1) => ({ state, version, snapshotVersion: 0 })

describe('the cache of states', () => {
  test('keeps those used last, up to a number', () => {
    const cache = new StateCache({ entries: 2 })
    for (const key of ['a', 'b']) cache.put(key, held(key), cache.epoch)
    cache.get('a')
    cache.put('c', held('c'), cache.epoch)
    expect(['a', 'b', 'c'].map((key) => cache.get(key)?.state)).toEqual(['a', undefined, 'c'])
    expect(cache.size).toBe(2)
  })

  test('keeps those used last also when many came and went', () => {
    const cache = new StateCache({ entries: 100 })
    for (let i = 0; i < 1000; i++) {
      cache.put(`key-${i}`, held(i), cache.epoch)
      cache.get('key-0')
      if (i % 10 === 0) cache.delete(`key-${i - 5}`)
    }
    expect(cache.get('key-0')?.state).toBe(0)
    expect(Array.from({ length: 800 }, (_, i) => cache.get(`key-${i + 1}`)).every((found) => found === undefined)).toBe(true)
    expect([cache.size > 80, cache.size <= 100, cache.get('key-999')?.state]).toEqual([true, true, 999])
  })

  test('keeps about so many bytes', () => {
    const cache = new StateCache({ bytes: 10_000 })
    const state = { text: 'x'.repeat(1000) }
    for (let i = 0; i < 100; i++) cache.put(`key-${i}`, held(state), cache.epoch)
    expect(cache.size).toBe(4)
    expect(cache.bytes).toBeLessThanOrEqual(10_000)
    cache.put('key-99', held({ text: 'x'.repeat(100_000) }, 50), cache.epoch)
    expect([cache.size, cache.bytes]).toEqual([0, 0])
  })

  test('counts a state again when it has grown', () => {
    const cache = new StateCache()
    for (let version = 1; version <= 1000; version++)
      cache.put(
        'a',
        held(
          Array.from({ length: version }, () => 0),
          version,
        ),
        cache.epoch,
      )
    expect(cache.bytes).toBeGreaterThan(1000 * 8)
    expect(cache.bytes).toBeLessThan(1000 * 30)
  })

  test('counts states of any kind', () => {
    const circle: { self?: unknown } = {}
    circle.self = circle
    const cache = new StateCache()
    for (const state of [circle, new Map([['a', new Set([1])]]), null, undefined, 3n, [new Date()]])
      cache.put('a', held(state), cache.epoch)
    expect(cache.size).toBe(1)
  })

  test('takes nothing that was read before it was dropped', () => {
    const cache = new StateCache()
    const { epoch } = cache
    cache.put('a', held('a'), epoch)
    cache.clear()
    expect([cache.size, cache.bytes, cache.get('a')]).toEqual([0, 0, undefined])
    cache.put('a', held('old'), epoch)
    expect(cache.get('a')).toBeUndefined()
  })

  test('may be switched off', () => {
    const cache = new StateCache({ entries: 0 })
    cache.put('a', held('a'), cache.epoch)
    expect(cache.get('a')).toBeUndefined()
  })
})
