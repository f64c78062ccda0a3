import { type Database, DatabaseError, type Store } from 'headwater'
import { database, schema } from './app.ts'
import * as readModels from './read-models.ts'
import { documents, hot } from './stores.ts'

/** How many versions are looked for of a read model whose versions nobody remembers, because the schema was dropped by hand. */
const versionsAtLeast = 10

/** Removes everything of the shop: what it keeps in other stores, and only that, then both schemas. */
export async function reset(print: (line: string) => void): Promise<void> {
  const names = Object.values(readModels).map(({ readModelName }) => readModelName)
  const versions = Math.max(versionsAtLeast, await versionsIn(database))
  for (const store of [documents, hot]) {
    if (!store) continue
    for (const name of names) await dropVersions(store, name, versions)
    print(`Removed the shop's read models from ${store.description}`)
  }
  await database.query(`drop schema if exists ${schema} cascade`)
  await database.query('drop schema if exists shop cascade')
  print(`Removed the schemas shop and ${schema} from ${database.traits.description}`)
}

async function versionsIn(from: Database): Promise<number> {
  try {
    const { rows } = await from.query<{ last: number | null }>(
      `select max(version)::integer as last from (select version from ${schema}.view union all select version from ${schema}.projection) v`,
    )
    return rows[0]?.last ?? 0
  } catch (error) {
    if (error instanceof DatabaseError && error.sqlState === '42P01') return 0
    throw error
  }
}

async function dropVersions(store: Store, name: string, versions: number): Promise<void> {
  // A store finds the indexes of a version by their number: more of them than there are do no harm.
  const indexes = Array.from({ length: 10 }, (_, i) => ({ name: String(i), fields: [] }))
  for (let version = 1; version <= versions; version++) await store.drop({ owner: schema, name, version, indexes })
}
