import { once } from 'node:events'
import { createServer } from 'node:net'
import { type Database, DatabaseError, DatabaseUnavailableError, type Transaction, UsageError } from 'headwater'
import { type PostgresOptions, postgres } from 'headwater/postgres'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { postgresMissing } from '../support/addresses.ts'
import { dropSchemas, freshSchema, postgresUrl } from '../support/databases.ts'
import { isCommit, TcpProxy } from '../support/tcp-proxy.ts'

const { hostname, port } = new URL(postgresUrl)
const server = { host: hostname, port: Number(port || 5432) }

async function using<T>(database: Database, work: (database: Database) => Promise<T>): Promise<T> {
  try {
    return await work(database)
  } finally {
    await database.close()
  }
}

async function thrown(work: Promise<unknown>): Promise<unknown> {
  return work.then(
    () => undefined,
    (error: unknown) => error,
  )
}

describe.skipIf(await postgresMissing())('a PostgreSQL server', () => {
  const schema = freshSchema()
  const open = (options: PostgresOptions = {}, url = postgresUrl) => postgres(url, { searchPath: schema, ...options })
  const observer = postgres(postgresUrl, { searchPath: schema, poolSize: 2 })
  beforeAll(async () => void (await observer.query(`create schema ${schema}; create table written (n int)`)))
  afterAll(async () => {
    await observer.close()
    await dropSchemas()
  })

  const written = async (n: number) => (await observer.query('select n from written where n = $1', [n])).rowCount === 1
  const backendOf = async (transaction: Transaction) =>
    (await transaction.query<{ pid: number }>('select pg_backend_pid() as pid')).rows[0]?.pid ?? 0
  const terminate = async (pid: number) => {
    await observer.query('select pg_terminate_backend($1)', [pid])
    await expect.poll(async () => (await observer.query('select 1 from pg_stat_activity where pid = $1', [pid])).rowCount).toBe(0)
  }

  describe('a connection that breaks', () => {
    test('while a statement runs, fails it and is replaced', async () => {
      await using(open({ poolSize: 1 }), async (database) => {
        const error = await thrown(
          database.transaction(async (transaction) => {
            const pid = await backendOf(transaction)
            const slow = transaction.query('select pg_sleep(60)')
            await Promise.all([
              slow,
              expect
                .poll(async () => isRunning(pid))
                .toBe(true)
                .then(() => terminate(pid)),
            ])
          }),
        )
        expect(error).toBeInstanceOf(DatabaseUnavailableError)
        expect(error).toMatchObject({ during: 'statement', message: expect.stringContaining('57P01') })
        expect((await database.query('select 1 as a')).rows).toEqual([{ a: 1 }])
      })
    })

    const isRunning = async (pid: number) =>
      (await observer.query(`select 1 from pg_stat_activity where pid = $1 and state = 'active' and query like '%pg_sleep%'`, [pid]))
        .rowCount === 1

    test('by a statement of its own, is replaced before the next call', async () => {
      await using(open({ poolSize: 1 }), async (database) => {
        const ended = thrown(database.query('select pg_terminate_backend(pg_backend_pid())'))
        expect(await ended).toMatchObject({ code: 'database_unavailable', during: 'statement' })
        expect((await database.query('select 1 as a')).rows).toEqual([{ a: 1 }])
      })
    })

    test('between two statements of a transaction, fails the next, and the commit for certain', async () => {
      await using(open({ poolSize: 1 }), async (database) => {
        const next = thrown(
          database.transaction(async (transaction) => {
            await terminate(await backendOf(transaction))
            await transaction.query('select 1')
          }),
        )
        expect(await next).toMatchObject({ code: 'database_unavailable', during: 'statement' })
        const commit = thrown(
          database.transaction(async (transaction) => {
            await transaction.query('insert into written values (1)')
            await terminate(await backendOf(transaction))
            await thrown(transaction.query('select 1'))
          }),
        )
        expect(await commit).toMatchObject({ code: 'database_unavailable', during: 'statement' })
        expect(await written(1)).toBe(false)
        await database.query('select 1')
      })
    })

    test('while nobody uses it, is not noticed', async () => {
      await using(open({ poolSize: 1 }), async (database) => {
        const pid = await database.transaction(backendOf)
        await terminate(pid)
        // The news may still be on its way: at most one statement meets the broken connection.
        await thrown(database.query('select 1'))
        expect((await database.query('select 1 as a')).rows).toEqual([{ a: 1 }])
      })
    })

    test.each([
      ['before the server got it', 'cut-before', 2, false],
      ['after the server did it', 'cut-after', 3, true],
    ] as const)('during a commit, %s, says so', async (_when, verdict, n, happened) => {
      const proxy = await TcpProxy.open(server)
      proxy.judge = (message) => (isCommit(message) ? verdict : 'forward')
      await using(open({ poolSize: 1 }, proxy.url(postgresUrl)), async (database) => {
        const error = await thrown(database.transaction((transaction) => transaction.query('insert into written values ($1)', [n])))
        expect(error).toBeInstanceOf(DatabaseUnavailableError)
        expect(error).toMatchObject({ during: 'commit' })
        if (happened) await expect.poll(() => written(n)).toBe(true)
        else expect(await written(n)).toBe(false)
        expect((await database.query('select 1 as a')).rows).toEqual([{ a: 1 }])
      })
      await proxy.close()
    })

    test('while a rollback runs, still lets the error of the work through', async () => {
      const proxy = await TcpProxy.open(server)
      proxy.judge = ({ sql }) => (sql === 'rollback' ? 'cut-before' : 'forward')
      await using(open({ poolSize: 1 }, proxy.url(postgresUrl)), async (database) => {
        const ended = database.transaction(async (transaction) => {
          await transaction.query('insert into written values (4)')
          throw new Error('mine')
        })
        await expect(ended).rejects.toThrow('mine')
        expect((await database.query('select 1 as a')).rows).toEqual([{ a: 1 }])
      })
      await proxy.close()
      await expect.poll(() => written(4)).toBe(false)
    })
  })

  describe('options', () => {
    test('sessions have settings of their own, whatever the URL says', async () => {
      const url = `${postgresUrl}?options=-c%20timezone%3DAsia/Tokyo%20-c%20work_mem%3D5MB`
      await using(open({ applicationName: 'it is me', idleInTransactionTimeoutMs: 1234 }, url), async (database) => {
        const names = ['TimeZone', 'DateStyle', 'work_mem', 'application_name', 'idle_in_transaction_session_timeout', 'search_path']
        const { rows } = await database.query('select name, current_setting(name) as value from unnest($1::text[]) as name', [names])
        expect(Object.fromEntries(rows.map(({ name, value }) => [name, value]))).toEqual({
          TimeZone: 'UTC',
          DateStyle: 'ISO, MDY',
          work_mem: '5MB',
          application_name: 'it is me',
          idle_in_transaction_session_timeout: '1234ms',
          search_path: `"${schema}"`,
        })
      })
    })

    test('a search path of several schemas, with names that need quoting', async () => {
      await using(open({ searchPath: ['a "b" c\\d', schema] }), async (database) => {
        expect((await database.query('show search_path')).rows).toEqual([{ search_path: `"a ""b"" c\\d", "${schema}"` }])
        await database.query('select * from written')
      })
    })

    test('a statement that takes too long is ended', async () => {
      await using(open({ statementTimeoutMs: 20 }), async (database) => {
        const error = await thrown(database.query('select pg_sleep(60)'))
        expect(error).toBeInstanceOf(DatabaseError)
        expect(error).toMatchObject({ sqlState: '57014' })
      })
    })

    test('a transaction that does nothing for too long is ended, and its error says why', async () => {
      await using(open({ idleInTransactionTimeoutMs: 20 }), async (database) => {
        const error = await thrown(
          database.transaction(async (transaction) => {
            const pid = await backendOf(transaction)
            await expect.poll(async () => (await observer.query('select 1 from pg_stat_activity where pid = $1', [pid])).rowCount).toBe(0)
            await transaction.query('select 1')
          }),
        )
        expect(error).toMatchObject({ code: 'database_unavailable', during: 'statement', message: expect.stringContaining('25P03') })
      })
    })

    test('at most so many connections are open, and calls beyond wait', async () => {
      const applicationName = `${schema} pool`
      await using(open({ poolSize: 3, applicationName }), async (database) => {
        expect(database.traits.connections).toBe(3)
        await Promise.all(Array.from({ length: 50 }, () => database.query('select pg_sleep(0.001)')))
        expect((await observer.query('select 1 from pg_stat_activity where application_name = $1', [applicationName])).rowCount).toBe(3)
      })
    })

    test('statements are prepared once, and at most 200 of them', async () => {
      await using(open({ poolSize: 1 }), async (database) => {
        for (let n = 0; n < 230; n++) await database.query(`select $1::int + ${n}`, [1], { prepare: true })
        for (let n = 0; n < 3; n++) await database.query('select $1::int + 0', [1], { prepare: true })
        await database.query('select $1::int + 1000', [1])
        const { rows } = await database.query<{ count: number; distinct: number }>(
          'select count(*), count(distinct statement) as distinct from pg_prepared_statements',
        )
        expect(rows).toEqual([{ count: 200, distinct: 200 }])
      })
    })

    test('behind a pooler nothing is prepared, and a search path is refused', async () => {
      expect(() => postgres(postgresUrl, { prepare: false, searchPath: 'a' })).toThrow(UsageError)
      await using(postgres(postgresUrl, { prepare: false }), async (database) => {
        await database.query('select $1::int', [1], { prepare: true })
        expect((await database.query('select 1 from pg_prepared_statements')).rowCount).toBe(0)
      })
    })

    test('the client of pg is handed on inside a transaction', async () => {
      await using(open(), async (database) => {
        const raw = await database.transaction(async (transaction) => transaction.raw)
        expect(raw).toHaveProperty('query')
      })
    })
  })

  test('statements called at once wait for one another before they reach pg, which is going to refuse them', async () => {
    const warnings: Error[] = []
    const listen = (warning: Error) => warnings.push(warning)
    process.on('warning', listen)
    await using(open(), (database) =>
      database.transaction((transaction) => Promise.all([1, 2, 3].map((n) => transaction.query('select $1::int', [n])))),
    )
    process.off('warning', listen)
    expect(warnings).toEqual([])
  })

  test('tells a database that is not there from one that cannot be reached', async () => {
    const url = new URL(postgresUrl)
    url.pathname = '/headwater_no_such_database'
    await using(postgres(url.href), async (database) => {
      await expect(database.query('select 1')).rejects.toMatchObject({ code: 'database_error', sqlState: '3D000' })
    })
  })
})

describe('a server that cannot be reached', () => {
  test('is unavailable, and its description holds no password', async () => {
    const unused = createServer().listen(0, '127.0.0.1')
    await once(unused, 'listening')
    const address = unused.address()
    unused.close()
    const at = typeof address === 'object' && address ? address.port : 0
    await using(postgres(`postgres://me:secret@127.0.0.1:${at}/shop`), async (database) => {
      expect(database.traits.description).toBe(`postgres://me@127.0.0.1:${at}/shop`)
      for (const call of [database.query('select 1'), database.transaction(async () => {})]) {
        await expect(call).rejects.toMatchObject({
          code: 'database_unavailable',
          during: 'connect',
          message: expect.stringContaining('ECONNREFUSED'),
        })
      }
    })
  })

  test('is given up when it does not answer', async () => {
    const silent = createServer().listen(0, '127.0.0.1')
    await once(silent, 'listening')
    const address = silent.address()
    const at = typeof address === 'object' && address ? address.port : 0
    await using(postgres(`postgres://me@127.0.0.1:${at}/shop`, { connectTimeoutMs: 20 }), async (database) => {
      await expect(database.query('select 1')).rejects.toMatchObject({ code: 'database_unavailable', during: 'connect' })
    })
    silent.close()
  })

  test('needs a pool of at least one', () => {
    expect(() => postgres(postgresUrl, { poolSize: 0 })).toThrow(UsageError)
  })
})
