import { expect, test } from 'vitest'
import { Turns } from '../src/internal/turns.ts'

test('turns are taken in order, by key, whatever becomes of the one before', async () => {
  const turns = new Turns()
  const seen: string[] = []
  const work =
    (name: string, fails = false) =>
    async () => {
      seen.push(`${name} begins`)
      await new Promise(setImmediate)
      seen.push(`${name} ends`)
      if (fails) throw new Error(name)
      return name
    }
  const ended = await Promise.allSettled([turns.run('a', work('1', true)), turns.run('a', work('2')), turns.run('b', work('3'))])
  expect(ended.map(({ status }) => status)).toEqual(['rejected', 'fulfilled', 'fulfilled'])
  expect(seen.filter((line) => !line.startsWith('3'))).toEqual(['1 begins', '1 ends', '2 begins', '2 ends'])
  expect(seen.slice(0, 2)).toEqual(['1 begins', '3 begins'])
  await new Promise(setImmediate)
  expect(turns.size).toBe(0)
})
