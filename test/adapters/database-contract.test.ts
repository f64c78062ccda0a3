import type { Database } from 'headwater'
import { postgres } from 'headwater/postgres'
import { databaseContract } from 'headwater/testing'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { databases, freshSchema, postgresUrl } from '../support/databases.ts'
import { Pgbouncer, pgbouncerMissing } from './pgbouncer.ts'

for (const { name, skip, open } of databases) {
  describe.skipIf(skip)(`the database contract on ${name}`, () => {
    for (const { name: promise, run } of databaseContract(open)) test(promise, run)
  })
}

describe.skipIf(databases[1]?.skip || pgbouncerMissing)('the database contract through PgBouncer in transaction mode', () => {
  let pooler: Pgbouncer
  beforeAll(async () => {
    const schema = freshSchema()
    const server = postgres(postgresUrl)
    await server.query(`create schema ${schema}`)
    await server.close()
    pooler = await Pgbouncer.start(schema)
  })
  afterAll(() => pooler.stop())

  for (const { name, run } of databaseContract(async () => postgres(pooler.url, { prepare: false }))) test(name, run)

  test('has settings of its own inside a transaction', async () => {
    const database = postgres(pooler.url, { prepare: false, statementTimeoutMs: 12_345 })
    const shown = await database.transaction(
      async (transaction) =>
        (await transaction.query(`select current_setting('TimeZone') as zone, current_setting('statement_timeout') as timeout`)).rows,
    )
    expect(shown).toEqual([{ zone: 'UTC', timeout: '12345ms' }])
    await database.close()
  })
})

describe('the database contract itself', () => {
  const nothing = { rows: [], rowCount: 0 }
  const silent: Database = {
    traits: { description: 'a database that answers nothing', connections: 1, survivesPowerLoss: false },
    query: async () => nothing,
    transaction: (work) => work({ query: async () => nothing, raw: undefined }),
    close: async () => {},
  }
  const cases = databaseContract(async () => silent)

  test('has cases, each with a name of its own', () => {
    expect(cases.length).toBeGreaterThan(30)
    expect(new Set(cases.map(({ name }) => name)).size).toBe(cases.length)
  })

  test.each(cases)('$name: fails on a database that answers nothing', async ({ run }) => {
    await expect(run()).rejects.toThrow()
  })

  // The same with a database that passes the opening question, so that each case is seen to look for itself.
  const clever: Database = {
    ...silent,
    traits: { ...silent.traits, description: '' },
    query: async (text) => (text.includes('as sum') ? { rows: [{ sum: 42 } as never], rowCount: 1 } : nothing),
  }
  test.each(databaseContract(async () => clever))('$name: fails on a database that only computes a sum', async ({ run }) => {
    await expect(run()).rejects.toThrow()
  })
})
