import { sql as drizzleSql, eq } from 'drizzle-orm'
import { bigint, integer, jsonb, numeric, pgTable, text, timestamp } from 'drizzle-orm/pg-core'
import { drizzle } from 'drizzle-orm/pg-proxy'
import { type Database, UsageError } from 'headwater'
import { drizzleProxy, kyselyPool } from 'headwater/postgres'
import { type Generated, Kysely, PostgresDialect, sql } from 'kysely'
import { beforeAll, beforeEach, describe, expect, expectTypeOf, test } from 'vitest'
import { databases } from './support/databases.ts'

interface Tables {
  post: { id: Generated<number>; title: string; tags: string[] | null; details: unknown; written_at: string; views: number; price: string }
}

const post = pgTable('post', {
  id: integer().primaryKey().generatedAlwaysAsIdentity(),
  title: text().notNull(),
  tags: text().array(),
  details: jsonb(),
  writtenAt: timestamp('written_at', { withTimezone: true }).notNull(),
  views: bigint({ mode: 'number' }).notNull(),
  price: numeric().notNull(),
})

const written = '2024-02-29T12:00:00.123000Z'

for (const target of databases) {
  describe.skipIf(target.skip)(`on ${target.name}`, () => {
    let database: Database
    beforeAll(async () => {
      database = await target.open()
      await database.query(`create table post (id int primary key generated always as identity, title text not null unique, tags text[],
        details jsonb, written_at timestamptz not null, views int8 not null, price numeric not null)`)
    })
    beforeEach(async () => void (await database.query('truncate post restart identity')))
    const titles = async () =>
      (await database.query<{ title: string }>('select title from post order by id')).rows.map(({ title }) => title)

    describe('Kysely', () => {
      const on = (client: Parameters<typeof kyselyPool>[0]) =>
        new Kysely<Tables>({ dialect: new PostgresDialect({ pool: kyselyPool(client) }) })
      const row = { title: 'a', tags: ['x', 'y "z"'], details: { n: [1] }, written_at: written, views: 7, price: '1.50' }

      test('writes and reads typed rows inside a transaction', async () => {
        const found = await database.transaction(async (transaction) => {
          const db = on(transaction)
          const inserted = await db.insertInto('post').values(row).returning('id').executeTakeFirstOrThrow()
          expectTypeOf(inserted).toEqualTypeOf<{ id: number }>()
          const all = await db.selectFrom('post').selectAll().where('id', '=', inserted.id).execute()
          expectTypeOf(all[0]?.title).toEqualTypeOf<string | undefined>()
          // @ts-expect-error there is no such column
          const wrong = () => db.selectFrom('post').select('nothing')
          expect(wrong).toBeTypeOf('function')
          return all
        })
        expect(found).toEqual([{ id: 1, ...row }])
      })

      test('counts changed rows, also with a WITH in front', async () => {
        await database.transaction(async (transaction) => {
          const db = on(transaction)
          await db
            .insertInto('post')
            .values([row, { ...row, title: 'b' }])
            .execute()
          const updated = await db.updateTable('post').set({ views: 8 }).executeTakeFirstOrThrow()
          expect(updated.numUpdatedRows).toBe(2n)
          const some = db.with('some', (q) => q.selectFrom('post').select('id').where('title', '=', 'a'))
          const deleted = await some
            .deleteFrom('post')
            .where('id', 'in', (q) => q.selectFrom('some').select('id'))
            .executeTakeFirstOrThrow()
          expect(deleted.numDeletedRows).toBe(1n)
        })
        expect(await titles()).toEqual(['b'])
      })

      test('is undone with the surrounding transaction', async () => {
        const ended = database.transaction(async (transaction) => {
          await on(transaction).insertInto('post').values(row).execute()
          expect((await transaction.query('select 1 from post')).rowCount).toBe(1)
          throw new Error('no')
        })
        await expect(ended).rejects.toThrow('no')
        expect(await titles()).toEqual([])
      })

      test('hands on the typed error of the database', async () => {
        const ended = database.transaction(async (transaction) => {
          await on(transaction).insertInto('post').values([row, row]).execute()
        })
        await expect(ended).rejects.toMatchObject({ sqlState: '23505', constraint: 'post_title_key' })
      })

      test('may not begin or end a transaction of its own', async () => {
        await database.transaction(async (transaction) => {
          const db = on(transaction)
          await db.insertInto('post').values(row).execute()
          await expect(db.transaction().execute(async () => {})).rejects.toThrow(UsageError)
          await expect(db.startTransaction().execute()).rejects.toThrow(UsageError)
          for (const text of ['commit', ' ROLLBACK', 'start transaction', 'end', 'abort']) {
            await expect(sql.raw(text).execute(db)).rejects.toThrow(UsageError)
          }
          await sql`savepoint here`.execute(db)
          await db
            .insertInto('post')
            .values({ ...row, title: 'b' })
            .execute()
          await sql`rollback to here`.execute(db)
          await db.destroy()
        })
        expect(await titles()).toEqual(['a'])
      })
    })

    describe('Drizzle', () => {
      const row = { title: 'a', tags: ['x', 'y "z"'], details: { n: [1] }, writtenAt: new Date(written), views: 7, price: '1.50' }

      test('writes and reads typed rows inside a transaction', async () => {
        const found = await database.transaction(async (transaction) => {
          const db = drizzle(drizzleProxy(transaction))
          const inserted = await db.insert(post).values(row).returning({ id: post.id })
          expectTypeOf(inserted).toEqualTypeOf<{ id: number }[]>()
          const all = await db.select().from(post).where(eq(post.title, 'a'))
          expectTypeOf(all[0]?.writtenAt).toEqualTypeOf<Date | undefined>()
          return all
        })
        expect(found).toEqual([{ id: 1, ...row }])
      })

      test('runs plain SQL with rows as objects', async () => {
        await database.transaction(async (transaction) => {
          expect(await drizzle(drizzleProxy(transaction)).execute(drizzleSql`select ${3}::int as three`)).toEqual([{ three: 3 }])
        })
      })

      test('is undone with the surrounding transaction', async () => {
        const ended = database.transaction(async (transaction) => {
          await drizzle(drizzleProxy(transaction)).insert(post).values(row)
          expect((await transaction.query('select 1 from post')).rowCount).toBe(1)
          throw new Error('no')
        })
        await expect(ended).rejects.toThrow('no')
        expect(await titles()).toEqual([])
      })

      test('may not begin a transaction of its own', async () => {
        await database.transaction(async (transaction) => {
          await expect(drizzle(drizzleProxy(transaction)).transaction(async () => {})).rejects.toThrow('not supported')
        })
      })
    })
  })
}
