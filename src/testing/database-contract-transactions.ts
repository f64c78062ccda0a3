import assert from 'node:assert/strict'
import type { Database, Transaction } from '../index.ts'
import type { Check } from './contract-case.ts'
import { rejects, withTable } from './contract-case.ts'

async function numbers(database: Database, table: string): Promise<readonly unknown[]> {
  const { rows } = await database.query<{ a: number }>(`select a from ${table} order by a`)
  return rows.map(({ a }) => a)
}

export const transactionChecks: Readonly<Record<string, Check>> = {
  'commits what a transaction wrote, and hands on what it resolved to': async (database) => {
    await withTable(database, 'a int', async (table) => {
      const result = await database.transaction(async (transaction) => {
        await transaction.query(`insert into ${table} values ($1)`, [1])
        const seen = await transaction.query(`select a from ${table}`)
        return seen.rows
      })
      assert.deepEqual(result, [{ a: 1 }])
      assert.deepEqual(await numbers(database, table), [1])
    })
  },

  'rolls back when the work throws, and throws the same': async (database) => {
    await withTable(database, 'a int', async (table) => {
      const error = new Error('no')
      const ended = database.transaction(async (transaction) => {
        assert.equal((await transaction.query(`insert into ${table} values (1)`)).rowCount, 1)
        throw error
      })
      await assert.rejects(ended, (thrown) => thrown === error)
      assert.deepEqual(await numbers(database, table), [])
    })
  },

  'runs in the isolation asked for': async (database) => {
    for (const isolation of ['read committed', 'repeatable read', 'serializable'] as const) {
      const shown = await database.transaction(async (transaction) => (await transaction.query('show transaction_isolation')).rows, {
        isolation,
      })
      assert.deepEqual(shown, [{ transaction_isolation: isolation }])
    }
    const standard = await database.transaction(async (transaction) => (await transaction.query('show transaction_isolation')).rows)
    assert.deepEqual(standard, [{ transaction_isolation: 'read committed' }])
  },

  'refuses writes in a read-only transaction': async (database) => {
    await withTable(database, 'a int', async (table) => {
      const write = (transaction: Transaction) => transaction.query(`insert into ${table} values (1)`)
      await rejects(() => database.transaction(write, { readOnly: true }), { code: 'database_error', sqlState: '25006' })
      await database.transaction(write)
      assert.deepEqual(await numbers(database, table), [1])
    })
  },

  'runs the statements of a transaction in the order of the calls, and all before the commit': async (database) => {
    await withTable(database, 'a int', async (table) => {
      await database.transaction(async (transaction) => {
        for (let a = 1; a <= 20; a++) void transaction.query(`insert into ${table} select count(*) + 1 from ${table}`)
      })
      assert.deepEqual(
        await numbers(database, table),
        Array.from({ length: 20 }, (_, i) => i + 1),
      )
    })
  },

  'refuses a transaction that has ended, and runs nothing on it': async (database) => {
    await withTable(database, 'a int', async (table) => {
      const kept = await database.transaction(async (transaction) => [transaction])
      await rejects(async () => kept[0]?.query(`insert into ${table} values (1)`), { code: 'usage', message: /ended/ })
      assert.deepEqual(await numbers(database, table), [])
    })
  },

  'does not take a failed transaction for a committed one': async (database) => {
    await withTable(database, 'a int primary key', async (table) => {
      const ended = database.transaction(async (transaction) => {
        await transaction.query(`insert into ${table} values (1)`)
        await transaction.query(`insert into ${table} values (1)`).catch(() => {})
      })
      await rejects(() => ended, { code: 'database_error', sqlState: '25P02' })
      assert.deepEqual(await numbers(database, table), [])
    })
  },

  'goes on after a savepoint was rolled back to': async (database) => {
    await withTable(database, 'a int primary key', async (table) => {
      await database.transaction(async (transaction) => {
        await transaction.query(`insert into ${table} values (1)`)
        await transaction.query('savepoint here')
        await rejects(() => transaction.query(`insert into ${table} values (1)`), { sqlState: '23505' })
        await transaction.query('rollback to here')
        await transaction.query(`insert into ${table} values (2)`)
      })
      assert.deepEqual(await numbers(database, table), [1, 2])
    })
  },

  'reports an error that comes with the commit': async (database) => {
    await withTable(database, 'a int unique deferrable initially deferred', async (table) => {
      const ended = database.transaction(async (transaction) => {
        await transaction.query(`insert into ${table} values (1), (1)`)
      })
      await rejects(() => ended, { code: 'database_error', sqlState: '23505', constraint: `${table}_a_key` })
      assert.deepEqual(await numbers(database, table), [])
    })
  },

  'refuses statements that begin or end a transaction': async (database) => {
    await withTable(database, 'a int', async (table) => {
      await rejects(() => database.query('begin'), { code: 'usage', message: /transaction\(\)/ })
      await rejects(() => database.query(`begin; insert into ${table} values (1)`), { code: 'usage' })
      const swallowed = database.transaction(async (transaction) => {
        await transaction.query('commit').catch(() => {})
      })
      await rejects(() => swallowed, { code: 'usage', message: /commit/ })
      assert.deepEqual(await numbers(database, table), [])
    })
  },

  'refuses a call that would wait for the transaction it stands in': async (database) => {
    await database.transaction(async (transaction) => {
      await rejects(() => database.query('select 1'), { code: 'usage', message: /inside/ })
      await rejects(() => database.transaction(async () => {}), { code: 'usage', message: /inside/ })
      await transaction.query('select 1')
    })
    await database.query('select 1')
  },

  'surfaces a serialization failure by its SQLSTATE': async (database) => {
    const raise = `do $$ begin raise exception 'again' using errcode = '40001'; end $$`
    await rejects(() => database.query(raise), { code: 'database_error', sqlState: '40001', message: /again/ })
    if (database.traits.connections > 1) await rejects(() => writeSkew(database), { code: 'database_error', sqlState: '40001' })
  },

  'keeps concurrent transactions apart': async (database) => {
    await withTable(database, 'a int', async (table) => {
      await database.query(`insert into ${table} values (0)`)
      const increment = async (transaction: Transaction) => {
        const { rows } = await transaction.query<{ a: number }>(`select a from ${table} for update`)
        await transaction.query(`update ${table} set a = $1`, [(rows[0]?.a ?? 0) + 1])
      }
      await Promise.all(Array.from({ length: 25 }, () => database.transaction(increment)))
      assert.deepEqual(await numbers(database, table), [25])
    })
  },
}

/** Two serializable transactions that each read what the other writes: one of them has to fail. */
async function writeSkew(database: Database): Promise<void> {
  await withTable(database, 'a int', async (table) => {
    let waiting = 0
    let release = () => {}
    const both = new Promise<void>((resolve) => (release = resolve))
    const work = async (transaction: Transaction) => {
      const { rows } = await transaction.query(`select count(*) as n from ${table}`)
      assert.deepEqual(rows, [{ n: 0 }])
      if (++waiting === 2) release()
      await both
      await transaction.query(`insert into ${table} values (1)`)
    }
    const ended = await Promise.allSettled([
      database.transaction(work, { isolation: 'serializable' }),
      database.transaction(work, { isolation: 'serializable' }),
    ])
    const failed = ended.filter((end) => end.status === 'rejected')
    assert.equal(failed.length, 1)
    throw failed[0]?.reason
  })
}
