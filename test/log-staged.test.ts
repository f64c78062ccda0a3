import { randomUUID } from 'node:crypto'
import type { Database, Transaction } from 'headwater'
import { postgres } from 'headwater/postgres'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { lockClass } from '../src/database/migrate.ts'
import type { AppendRequest } from '../src/log/log.ts'
import { stageAppend, sweepStaged, takeStaged } from '../src/log/stage-append.ts'
import { keyed, type LogPlace, logPlace, statuses, to } from './log/log-place.ts'
import { databases, postgresUrl } from './support/databases.ts'

for (const target of databases) {
  describe.skipIf(target.skip)(`events that a transaction stages on ${target.name}`, () => {
    let database: Database
    let place: LogPlace
    beforeAll(async () => {
      database = await target.open()
      await database.query('create table note (id int primary key, text text)')
    })
    afterAll(() => database.close())
    beforeEach(async () => {
      place = await logPlace(database)
      await database.query('truncate note')
    })

    /** Inserts a note and stages events, in one transaction. */
    const noteAnd = (
      request: AppendRequest,
      over: Parameters<LogPlace['runtime']>[0] = {},
      before?: (transaction: Transaction) => Promise<void>,
    ) =>
      database.transaction(async (transaction) => {
        await transaction.query(`insert into note values (1, 'a')`)
        await before?.(transaction)
        return await stageAppend(place.runtime(over), transaction, request)
      })
    const notes = async () => (await database.query('select id from note')).rows.length

    test('are appended when it commits, and the outcome can be taken once', async () => {
      await place.log().append(to('a', 0, 2))
      const request: AppendRequest = { streams: [...to('b', 'any', 3).streams, ...to('a', 2, 1).streams] }
      const id = await noteAnd(request)
      const { events } = await place.log().readStream('thing', 'b')
      expect(events.map(({ position, version }) => `${position} ${version}`)).toEqual(['3 1', '4 2', '5 3'])
      const xid = (await database.query<{ xid: string }>(`select xmin::text as xid from note`)).rows[0]?.xid
      expect(await takeStaged(database, place.schema, id)).toEqual({ status: 'appended', position: 6, versions: [3, 3], xid, left: [] })
      expect(await takeStaged(database, place.schema, id)).toBeUndefined()
    })

    test('are not appended when it rolls back', async () => {
      const failing = database.transaction(async (transaction) => {
        await stageAppend(place.runtime(), transaction, to('a'))
        throw new RangeError('no')
      })
      await expect(failing).rejects.toThrow(RangeError)
      expect(await place.log().head()).toMatchObject({ position: 0 })
    })

    test('make the commit fail, so that it can run again, when a stream is not as expected', async () => {
      await expect(noteAnd(to('a', 1))).rejects.toMatchObject({ sqlState: '40001', message: /not at the version/ })
      expect(await notes()).toBe(0)
      expect(await place.log().head()).toMatchObject({ position: 0 })
      await place.log().append(to('a', 0))
      await noteAnd(to('a', 1))
      expect(await notes()).toBe(1)
    })

    test('make it run again when the generation is another, which is read anew', async () => {
      place.generation = '000000000000'
      await expect(noteAnd(to('a'))).rejects.toMatchObject({ sqlState: '40001' })
      await expect.poll(() => place.calls).toEqual(['lost', 'renewed'])
      await noteAnd(to('a'))
      expect(await place.log().head()).toMatchObject({ position: 1 })
    })

    test('make the commit fail when the generation changes after they were staged', async () => {
      const changing = database.transaction(async (transaction) => {
        await stageAppend(place.runtime(), transaction, to('a'))
        await transaction.query(`insert into "${place.schema}".generation (identity) values ('{}')`)
      })
      await expect(changing).rejects.toMatchObject({ sqlState: '40001', message: /not the one it was/ })
    })

    test('carry the rows of sync projections', async () => {
      await database.query(
        `insert into "${place.schema}".read_model (name) values ('p');
         insert into "${place.schema}".projection (name, version, code_hash, mode, state, table_name, shape)
         values ('p', 1, '', 'sync', 'live', 'p_v1', '{}');
         insert into "${place.schema}".checkpoint (projection, first, last, position) select id, 0, 63, 0 from "${place.schema}".projection;
         create table "${place.schema}".p_v1 (key text collate "C" primary key, row jsonb not null, position bigint not null, version integer, texts text[])`,
      )
      const stage = (was: number) =>
        database.transaction(async (transaction) => {
          const row = { projection: 1, key: 'k', was, event: 0, version: 1, row: '{"n":1}', index: [] }
          return await stageAppend(place.runtime(), transaction, to('a'), { projections: [1], part: { rows: [row], needs: [] } })
        })
      expect(await takeStaged(database, place.schema, await stage(0))).toMatchObject({ left: [] })
      await expect(stage(0)).rejects.toMatchObject({ sqlState: '40001', message: /row of a sync projection/ })
      expect((await database.query(`select key, position from "${place.schema}".p_v1`)).rows).toEqual([{ key: 'k', position: 1 }])
      await place.log().append(to('a'))
      expect(await takeStaged(database, place.schema, await stage(1))).toMatchObject({ left: [1] })
    })

    test('are refused at the door', async () => {
      await expect(noteAnd(to('x'.repeat(300)))).rejects.toMatchObject({ code: 'invalid_input' })
      await expect(noteAnd(keyed(to('a'), 'k'))).rejects.toMatchObject({ code: 'usage' })
    })

    test('that nobody took are swept', async () => {
      const id = await noteAnd(to('a'))
      expect(await sweepStaged(database, place.schema)).toBe(0)
      await database.query(`update "${place.schema}".staged set at = at - interval '2 hours'`)
      expect(await sweepStaged(database, place.schema)).toBe(1)
      expect(await takeStaged(database, place.schema, id)).toBeUndefined()
    })

    test('take the lock on the log after everything else that waits for the commit', async () => {
      const held = `(select count(*) from pg_locks where locktype = 'advisory' and pid = pg_backend_pid()
        and classid = ${(lockClass(place.schema) + 4) >>> 0}::oid)`
      await database.query(`
        create table seen (what text, held bigint);
        create function look() returns trigger language plpgsql as $$ begin
          insert into seen values (tg_argv[0], ${held});
          return null;
        end $$;
        create function first() returns trigger language plpgsql as $$ begin
          insert into seen values ('first', ${held});
          update note set text = 'b';
          return null;
        end $$;
        create constraint trigger one after insert on note deferrable initially deferred for each row execute function first();
        create constraint trigger two after update on note deferrable initially deferred for each row execute function look('second')`)
      await noteAnd(to('a'))
      expect((await database.query('select * from seen order by what')).rows).toEqual([
        { what: 'first', held: 0 },
        { what: 'second', held: 0 },
      ])
      await database.query('drop table note, seen cascade; drop function first, look; create table note (id int primary key, text text)')
    })
  })
}

const server = databases.find(({ name }) => name === 'postgres')

describe.skipIf(server?.skip)('transactions that stage events, and appends, at once', () => {
  test('none waits for another in a circle', async () => {
    const database = postgres(postgresUrl, { poolSize: 12 })
    const place = await logPlace(database)
    const own = `"${place.schema}"`
    await database.query(`
      create table ${own}.stock (id int primary key, n int not null);
      insert into ${own}.stock select i, 0 from generate_series(1, 4) i;
      create table ${own}.sale (id uuid primary key);
      create function ${own}.count() returns trigger language plpgsql as $$ begin
        update ${own}.stock set n = n + 1 where id = 1;
        return null;
      end $$;
      create constraint trigger counting after insert on ${own}.sale deferrable initially deferred for each row execute function ${own}.count()`)
    const log = place.log()
    const sells = async (i: number) => {
      for (let n = 0; n < 15; n++) {
        await database.transaction(async (transaction) => {
          if (i % 2 === 0) await transaction.query(`update ${own}.stock set n = n + 1 where id = 1`)
          else await transaction.query(`insert into ${own}.sale values ($1)`, [randomUUID()])
          await stageAppend(place.runtime(), transaction, to(`sale-${n % 3}`))
        })
      }
    }
    const appends = async (i: number) => {
      for (let n = 0; n < 30; n++) expect(statuses([await log.append(to(`own-${i}`, n))])).toEqual(['appended'])
    }
    await Promise.all([...[0, 1, 2, 3, 4, 5].map(sells), ...[0, 1, 2, 3].map(appends)])
    expect(await log.head()).toMatchObject({ position: 6 * 15 + 4 * 30 })
    expect((await database.query(`select n from ${own}.stock where id = 1`)).rows).toEqual([{ n: 90 }])
    await database.close()
  })
})
