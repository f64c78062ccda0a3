import fc from 'fast-check'
import { consoleLog, type Database, type Headwater, headwater, silentLog } from 'headwater'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { randomTables, randomTransactions, randomViews, runTransaction, wrongViews } from './process/random-writes.ts'
import { databases, freshSchema, lasting } from './support/databases.ts'

const seed = Number(process.env.SEED ?? Date.now() % 2 ** 31)

for (const target of databases) {
  describe.skipIf(target.skip)(`any writes on ${target.name}, seed ${seed}`, () => {
    for (const mode of ['sync', 'async'] as const) {
      describe(mode, () => {
        let database: Database
        let app: Headwater | undefined
        const schema = freshSchema()

        beforeAll(async () => {
          database = await target.open()
          await database.query(randomTables)
        })

        afterAll(async () => {
          await app?.uninstall()
        })

        test('after each transaction every view is its SELECT', async () => {
          app = headwater({ database, schema, readModels: randomViews(mode), log: process.env.LOUD ? consoleLog() : silentLog })
          await app.start()
          await fc.assert(
            fc.asyncProperty(randomTransactions, async (transactions) => {
              for (const transaction of transactions) {
                await runTransaction(database, transaction)
                await app?.settle()
                expect(await wrongViews(database, schema)).toEqual([])
              }
            }),
            { seed, numRuns: target.name === 'postgres' ? 15 : 8, endOnFailure: true },
          )
          for (const name of ['joined', 'two_levels', 'grouped', 'pairs'])
            expect((await app.readModel(name).verify()).differences).toEqual([])
        })

        test.skipIf(target.name === 'pglite')('with 8 connections at once, every view is its SELECT in the end', async () => {
          const own = freshSchema()
          const app = headwater({
            database: lasting(database),
            schema: own,
            readModels: randomViews(mode),
            log: process.env.LOUD ? consoleLog() : silentLog,
          })
          await app.start()
          await fc.assert(
            fc.asyncProperty(fc.array(randomTransactions, { minLength: 8, maxLength: 8 }), async (writers) => {
              await Promise.all(
                writers.map(async (transactions) => {
                  for (const transaction of transactions) await runTransaction(database, transaction)
                }),
              )
              await app.settle()
              expect(await wrongViews(database, own)).toEqual([])
            }),
            { seed, numRuns: 12, endOnFailure: true },
          )
          await app.uninstall()
        })
      })
    }
  })
}
