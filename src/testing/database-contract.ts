import assert from 'node:assert/strict'
import type { Database } from '../index.ts'
import { type Check, type ContractCase, rejects, withTable } from './contract-case.ts'
import { transactionChecks } from './database-contract-transactions.ts'
import { valueChecks } from './database-contract-values.ts'

export type { ContractCase } from './contract-case.ts'

const statementChecks: Readonly<Record<string, Check>> = {
  'says what it is': async ({ traits, query }) => {
    assert.equal(typeof query, 'function')
    assert.ok(traits.description.length > 0)
    assert.ok(Number.isInteger(traits.connections) && traits.connections >= 1)
    assert.equal(typeof traits.survivesPowerLoss, 'boolean')
  },

  'runs several statements in one text, all or none, and answers what the last one said': async (database) => {
    await withTable(database, 'a int', async (table) => {
      const said = await database.query(`insert into ${table} values (1), (2); select count(*) as n from ${table}`)
      assert.deepEqual(said, { rows: [{ n: 2 }], rowCount: 1 })
      await rejects(() => database.query(`insert into ${table} values (3); select 1/0`), { sqlState: '22012' })
      assert.deepEqual((await database.query(`select count(*) as n from ${table}`)).rows, [{ n: 2 }])
      const last = await database.query(`select 1 as a; delete from ${table}`)
      assert.deepEqual(last, { rows: [], rowCount: 2 })
    })
  },

  'surfaces errors with SQLSTATE and constraint, and goes on': async (database) => {
    await withTable(database, 'a int primary key', async (table) => {
      await rejects(() => database.query('selec 1'), { code: 'database_error', sqlState: '42601' })
      await rejects(() => database.query('select $1::int', ['x']), { code: 'database_error', sqlState: '22P02' })
      await rejects(() => database.query(`select * from ${table}_no`), { code: 'database_error', sqlState: '42P01' })
      await database.query(`insert into ${table} values (1)`)
      const again = { code: 'database_error', sqlState: '23505', constraint: `${table}_pkey`, message: /duplicate/ }
      await rejects(() => database.query(`insert into ${table} values ($1)`, [1], { prepare: true }), again)
      assert.equal((await database.query(`insert into ${table} values ($1)`, [2], { prepare: true })).rowCount, 1)
    })
  },

  'runs a prepared statement again after its table has changed': async (database) => {
    await withTable(database, 'a int', async (table) => {
      const all = () => database.query(`select * from ${table} where a > $1`, [0], { prepare: true })
      await database.query(`insert into ${table} values (1)`)
      for (let time = 0; time < 8; time++) assert.deepEqual((await all()).rows, [{ a: 1 }])
      await database.query(`alter table ${table} add column b text default 'new'`)
      for (let time = 0; time < 3; time++) assert.deepEqual((await all()).rows, [{ a: 1, b: 'new' }])
    })
  },

  'answers each of many calls at a time with its own': async (database) => {
    const calls = Array.from({ length: 100 }, (_, i) => database.query('select $1::int as i', [i], { prepare: i % 2 === 0 }))
    const answers = await Promise.all(calls)
    assert.deepEqual(
      answers.map(({ rows }) => rows[0]),
      Array.from({ length: 100 }, (_, i) => ({ i })),
    )
  },

  'closes after what is under way, once, and then refuses': async (database) => {
    const last = database.query('select pg_sleep(0.05), 1 as done')
    const transaction = database.transaction(async (open) => {
      await open.query('select pg_sleep(0.05)')
      return (await open.query('select 2 as done')).rows
    })
    await Promise.all([database.close(), database.close()])
    assert.equal((await last).rowCount, 1)
    assert.deepEqual(await transaction, [{ done: 2 }])
    await database.close()
    await rejects(() => database.query('select 1'), { code: 'usage', message: /closed/ })
    await rejects(() => database.transaction(async () => {}), { code: 'usage', message: /closed/ })
  },
}

/**
 * What every adapter of the `Database` port keeps, as cases for any test runner. `open` gives a database in which tables may be made; each
 * case opens its own, closes it, and drops what it made. On a database with a single connection the cases that need two of them
 * check less.
 *
 * @example
 * for (const { name, run } of databaseContract(() => Promise.resolve(postgres(url)))) test(name, run)
 */
export function databaseContract(open: () => Promise<Database>): readonly ContractCase[] {
  const checks = { ...statementChecks, ...valueChecks, ...transactionChecks }
  return Object.entries(checks).map(([name, check]) => ({ name, run: () => runOn(open, check) }))
}

/** A database that answers nothing would pass many a check; so each case begins with a question that only a real one can answer. */
async function runOn(open: () => Promise<Database>, check: Check): Promise<void> {
  const database = await open()
  try {
    const { rows } = await database.query<{ sum: number }>('select $1::int + $2::int as sum', [20, 22])
    assert.deepEqual(rows, [{ sum: 42 }], 'the database does not compute')
    await check(database)
  } finally {
    await database.close()
  }
}
