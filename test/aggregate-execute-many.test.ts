import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { executeCommand } from '../src/command/execute-command.ts'
import { executeMany } from '../src/command/execute-many.ts'
import { account, deposit, openAccount, withdraw } from './support/account.ts'
import { databases } from './support/databases.ts'
import { type EventPlace, type EventProcess, eventPlace } from './support/event-place.ts'

for (const target of databases)
  describe.skipIf(target.skip)(`aggregates through the bulk door on ${target.name}`, () => {
    let place: EventPlace
    let one: EventProcess
    let ids = 0
    const freshId = () => `id-${++ids}`

    beforeAll(async () => {
      place = await eventPlace(await target.open())
      one = place.process()
    })
    afterAll(async () => {
      await place.database.close()
    })

    const open = async (process: EventProcess) => {
      const accountId = freshId()
      await executeCommand(process, openAccount, { accountId, owner: 'Ann' }, {})
      return accountId
    }
    const inputs = (ids: readonly string[], times: number) =>
      Array.from({ length: ids.length * times }, (_, i) => ({ accountId: ids[i % ids.length] ?? '', amount: i + 1 }))
    const amounts = async (accountId: string) =>
      (await one.eventLog.readStream('account', accountId)).events
        .filter(({ type }) => type === 'MoneyDeposited')
        .map(({ data }) => (data as { amount: number }).amount)

    test('commands are carried out in order for each stream, and progress is told', async () => {
      const process = place.process()
      const accounts = await Promise.all(Array.from({ length: 7 }, () => open(process)))
      const progress: number[] = []
      const all = inputs(accounts, 100)
      const done = await executeMany(process, deposit, all, { onProgress: (n) => progress.push(n) })
      expect(done).toEqual({ executed: 700, writes: [], position: (await process.eventLog.head()).position })
      expect(progress).toEqual([500, 700])
      for (const accountId of accounts) {
        expect(await amounts(accountId)).toEqual(all.filter((input) => input.accountId === accountId).map(({ amount }) => amount))
      }
    })

    test('no more than so many are under way', async () => {
      let underWay = 0
      let most = 0
      const process = place.process({
        eventLog: (log) => ({
          append: async (request) => {
            most = Math.max(most, ++underWay)
            return log.append(request).finally(() => underWay--)
          },
        }),
      })
      const openings = Array.from({ length: 40 }, () => ({ accountId: freshId(), owner: 'a' }))
      expect(await executeMany(process, openAccount, openings, { batchSize: 8 })).toMatchObject({ executed: 40 })
      expect(most).toBeLessThanOrEqual(8)
      expect(most).toBeGreaterThan(1)
    })

    test('the first refusal stops it, and says what is committed', async () => {
      const process = place.process()
      const accounts = await Promise.all(Array.from({ length: 4 }, () => open(process)))
      const closed = freshId()
      const all = inputs(accounts, 500)
      all.splice(30, 0, { accountId: closed, amount: 1 }, { accountId: closed, amount: 2 })
      let taken = 0
      const taking = (function* () {
        for (const input of all) {
          taken++
          yield input
        }
      })()
      const error = await executeMany(process, deposit, taking, { batchSize: 16 }).catch((e: unknown) => e)
      expect(taken).toBeLessThan(100)
      expect(error).toMatchObject({
        code: 'account_not_open',
        message: expect.stringMatching(/^deposit: input 30: refused: account_not_open/),
        details: { index: 30, executed: 30, details: { status: 'none' } },
      })
      const { done } = (error as { details: { done: readonly number[] } }).details
      const written = (await Promise.all(accounts.map(amounts))).flat().sort((a, b) => a - b)
      const expected = [...Array.from({ length: 30 }, (_, i) => i), ...done]
        .map((i) => all[i]?.amount)
        .sort((a, b) => Number(a) - Number(b))
      expect(written).toEqual(expected)
      expect(written.length).toBeLessThan(100)
    })

    test('a later command on the stream does not overtake one that failed', async () => {
      const process = place.process()
      const accountId = await open(process)
      const all = [5, 100, 5].map((amount) => ({ accountId, amount }))
      await executeCommand(process, deposit, { accountId, amount: 20 }, {})
      const error = await executeMany(process, withdraw, all, {}).catch((e: unknown) => e)
      expect(error).toMatchObject({ code: 'insufficient_funds', details: { index: 1, executed: 1, done: [] } })
      expect((await process.eventLog.readStream('account', accountId)).version).toBe(3)
    })

    test('wrong input stops it at its place', async () => {
      const process = place.process()
      const accountId = await open(process)
      const all = [
        { accountId, amount: 1 },
        { accountId, amount: -1 },
        { accountId, amount: 1 },
      ]
      await expect(executeMany(process, deposit, all, {})).rejects.toMatchObject({
        code: 'invalid_input',
        details: { index: 1, executed: 1, done: [] },
      })
      expect(await amounts(accountId)).toEqual([1])
    })

    test('of nothing is nothing', async () => {
      expect(await executeMany(one, deposit, [], {})).toEqual({ executed: 0, writes: [], position: undefined })
      expect(account.aggregateName).toBe('account')
    })
  })
