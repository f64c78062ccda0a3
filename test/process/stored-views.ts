import { type Database, materializedView, type SqlClient, type Store, type as typeOf } from 'headwater'
import { selects } from './random-writes.ts'

export interface Card {
  readonly id: number
  readonly title: string
  readonly price: string
  readonly category: string | null
  readonly changed: string
}

export const cardTables = `
  create table cards (id int primary key, title text not null, price numeric(10,2) not null, category text, changed timestamptz not null);
  insert into cards select i, 'card ' || i, i * 1.25, case when i % 5 > 0 then 'c' || i % 3 end, '2024-01-01'::timestamptz + i * interval '1 minute'
  from generate_series(1, 40) i;
`

export function cardsView({
  store,
  name = 'cards',
  select = 'select id, title, price, category, changed from cards',
}: {
  store?: Store
  name?: string
  select?: string
}) {
  return materializedView(name, {
    row: typeOf<Card>(),
    key: 'id',
    select,
    changedBy: { cards: 'id' },
    indexes: { byPrice: ['price'], byCategory: ['category', 'changed'] },
    ...(store && { store }),
  })
}

/** What a store holds of version 1, parsed, in no order. Indexes are those of views without any of their own. */
export async function storedRows(store: Store, owner: string, name: string, version = 1) {
  const model = { owner, name, version, indexes: [] }
  const found: unknown[] = []
  for (let from = ''; ; ) {
    const { rows } = await store.range(model, { index: undefined, from, to: '\u{10ffff}', reverse: false, limit: 500 })
    for (const { row } of rows) found.push(JSON.parse(row))
    if (rows.length < 500) return { rows: found }
    from = `${rows.at(-1)?.key}\u0001`
  }
}

/** The random views whose stored rows are not what their SELECT says, compared by this test's own eyes. */
export async function wrongStoredViews(database: Database | SqlClient, store: Store, owner: string) {
  const wrong: { view: string; expected: readonly string[]; stored: readonly string[] }[] = []
  for (const [view, select] of Object.entries(selects)) {
    const notNull =
      view === 'grouped' ? 'where q.tag is not null' : view === 'pairs' ? 'where q.author_id is not null and q.tag is not null' : ''
    const expected = texts((await database.query(`select * from (${select}) q ${notNull}`)).rows)
    const stored = texts((await storedRows(store, owner, view)).rows)
    if (JSON.stringify(expected) !== JSON.stringify(stored)) wrong.push({ view, expected, stored })
  }
  return wrong
}

function texts(rows: readonly unknown[]): readonly string[] {
  return rows.map((row) => JSON.stringify(Object.entries(row as object).sort(([a], [b]) => (a < b ? -1 : 1)))).sort()
}
