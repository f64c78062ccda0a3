import type { Database, SqlClient } from '../database/database.ts'
import { quote } from '../database/identifier.ts'
import { lockClass } from '../database/migrate.ts'
import { DatabaseError } from '../errors.ts'

/** What tells one database from its copy or its past: each part is left out where the role may not read it. */
async function identityOf(database: Database, schema: string): Promise<Readonly<Record<string, string>>> {
  const parts: Readonly<Record<string, string>> = {
    system: 'select system_identifier::text as value from pg_control_system()',
    timeline: 'select substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8) as value',
    database: 'select oid::text as value from pg_catalog.pg_database where datname = current_database()',
    marks: `select '${quote(schema).replaceAll("'", "''")}.mark'::regclass::oid::text as value`,
    // A directory of PGlite is copied as it is, with everything above. When its oldest file came to be there no copy can take along.
    ...(database.traits.survivesPowerLoss ? {} : { files: `select change::text as value from pg_stat_file('PG_VERSION')` }),
  }
  const identity: Record<string, string> = {}
  for (const [part, text] of Object.entries(parts)) {
    const value = await readPart(database, text)
    if (value !== undefined) identity[part] = value
  }
  return identity
}

async function readPart(client: SqlClient, text: string): Promise<string | undefined> {
  try {
    return (await client.query<{ value: string }>(text)).rows[0]?.value
  } catch (error) {
    if (error instanceof DatabaseError) return undefined
    throw error
  }
}

/**
 * The generation of the database: transaction ids mean something within one only. A new one begins when the database is not the one it was,
 * after a restore or a failover; `changed` is then true, and every row of every view has to be selected again, since marks of lost
 * transactions are gone with them.
 */
export async function readGeneration(database: Database, schema: string): Promise<{ readonly id: string; readonly changed: boolean }> {
  const identity = await identityOf(database, schema)
  return await database.transaction(async (transaction) => {
    await transaction.query('select pg_advisory_xact_lock($1::int, 5)', [lockClass(schema) + 2])
    const { rows } = await transaction.query<{ id: string; identity: Record<string, string> }>(
      `select replace(id::text, '-', '') as id, identity from ${quote(schema)}.generation order by created_at desc limit 1`,
    )
    const known = rows[0]
    const same =
      known && Object.entries(identity).every(([part, value]) => known.identity[part] === undefined || known.identity[part] === value)
    if (known && same) return { id: known.id.slice(0, 12), changed: false }
    const { rows: made } = await transaction.query<{ id: string }>(
      `insert into ${quote(schema)}.generation (identity) values ($1::jsonb) returning replace(id::text, '-', '') as id`,
      [identity],
    )
    return { id: (made[0]?.id ?? '').slice(0, 12), changed: known !== undefined }
  })
}
