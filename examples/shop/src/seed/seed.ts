import type { Database, Transaction } from 'headwater'
import { schema } from '../schema.ts'
import { wordsOf } from '../words.ts'
import { type Article, makeAssortment } from './assortment.ts'
import { Random } from './random.ts'

const productCount = 420
const seedNumber = 4002

/**
 * Creates the tables that are not there yet and, when there is no product, fills the shelves. All of it is one transaction: interrupted at any moment, it
 * begins again from nothing. Processes that start meanwhile wait for the lock and then find everything done.
 */
export async function prepareDatabase(
  database: Database,
  { seed, print }: { readonly seed: boolean; readonly print: (line: string) => void },
): Promise<void> {
  await database.transaction(async (transaction) => {
    await transaction.query('select pg_advisory_xact_lock(hashtext($1))', ['headwater example: shop'])
    await transaction.query('create schema if not exists shop')
    await transaction.query(schema)
    if (!seed) return
    const { rows } = await transaction.query<{ empty: boolean }>('select not exists (select from products) as empty')
    if (rows[0]?.empty) await fill(transaction, print)
  })
}

async function fill(transaction: Transaction, print: (line: string) => void): Promise<void> {
  const random = new Random(seedNumber)
  const articles = makeAssortment(productCount, random)
  await transaction.query('insert into categories (path) select distinct unnest($1::text[]) on conflict do nothing', [
    articles.map(({ category }) => category),
  ])
  await insertProducts(transaction, articles)
  const ratings = articles.flatMap(({ id, stars }) => stars.map((given) => ({ id, given })))
  await transaction.query('insert into ratings (product_id, customer_id, stars) select * from unnest ($1::uuid[], $2::uuid[], $3::int[])', [
    ratings.map(({ id }) => id),
    ratings.map(() => random.uuid()),
    ratings.map(({ given }) => given),
  ])
  await transaction.query('analyze categories, products, prices, stock, ratings')
  print(`The shop was empty: it has ${articles.length} products and ${ratings.length} ratings now (SEED=none skips this).`)
}

async function insertProducts(transaction: Transaction, articles: readonly Article[]): Promise<void> {
  const ids = articles.map(({ id }) => id)
  // Words as one text each: arrays of different lengths are no array of arrays.
  await transaction.query(
    `insert into products (id, name, words, category_id)
     select a.id, a.name, string_to_array(a.words, ' '), c.id
     from unnest ($1::uuid[], $2::text[], $3::text[], $4::text[]) as a (id, name, words, path) join categories c using (path)`,
    [ids, articles.map(({ name }) => name), articles.map(({ name }) => wordsOf(name).join(' ')), articles.map(({ category }) => category)],
  )
  await transaction.query('insert into prices (product_id, price) select * from unnest ($1::uuid[], $2::int[])', [
    ids,
    articles.map(({ price }) => price),
  ])
  await transaction.query('insert into stock (product_id, quantity) select * from unnest ($1::uuid[], $2::bigint[])', [
    ids,
    articles.map(({ stock }) => stock),
  ])
}
