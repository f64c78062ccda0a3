import { createHash } from 'node:crypto'
import { DatabaseError, IncompatibleStoreError } from '../errors.ts'
import type { Database, Transaction } from './database.ts'
import { quote } from './identifier.ts'
import { sql as readModels } from './migrations/000001-read-models.ts'
import { sql as eventLog } from './migrations/000002-event-log.ts'
import { sql as projections } from './migrations/000003-projections.ts'
import { sql as snapshots } from './migrations/000004-snapshots.ts'
import { sql as reactions } from './migrations/000005-reactions.ts'
import { sql as checkpointTurns } from './migrations/000006-checkpoint-turns.ts'
import { sql as viewOwners } from './migrations/000007-view-owners.ts'
import { sql as projectorRuns } from './migrations/000008-projector-runs.ts'
import { sql as storeChunks } from './migrations/000009-store-chunks.ts'

/** Headwater's own schema, migration by migration. The number is the place in the list; a migration that was released is never changed. */
export const migrations: readonly { readonly name: string; readonly sql: string }[] = [
  { name: 'read-models', sql: readModels },
  { name: 'event-log', sql: eventLog },
  { name: 'projections', sql: projections },
  { name: 'snapshots', sql: snapshots },
  { name: 'reactions', sql: reactions },
  { name: 'checkpoint-turns', sql: checkpointTurns },
  { name: 'view-owners', sql: viewOwners },
  { name: 'projector-runs', sql: projectorRuns },
  { name: 'store-chunks', sql: storeChunks },
]

/**
 * The first of the two numbers of Headwater's advisory locks for this schema: `lockClass` for keys of views, `lockClass + 1` for a view as
 * a whole, `lockClass + 2` for installing.
 */
export function lockClass(schema: string): number {
  return createHash('sha256').update(`headwater:${schema}`).digest().readInt32BE(0) >> 1
}

/** The text of a migration, or of any SQL with the same placeholders, for one schema. */
export function forSchema(sql: string, schema: string): string {
  return sql
    .replaceAll(':schema_name', schema.replaceAll("'", "''"))
    .replaceAll(':schema', quote(schema))
    .replaceAll(':lock_class + 1', String(lockClass(schema) + 1))
    .replaceAll(':lock_class', String(lockClass(schema)))
}

/**
 * Brings Headwater's schema to this version of the library. However many processes call it together, each migration runs once: a lock in the
 * database makes them take turns. Returns the names of the migrations that ran now.
 * @throws {IncompatibleStoreError} `newer_schema` when a newer version of the library has been here.
 */
export async function migrate(database: Database, schema: string): Promise<readonly string[]> {
  return await database.transaction(async (transaction) => {
    await transaction.query('select pg_advisory_xact_lock($1::int, 0)', [lockClass(schema) + 2])
    await createSchema(transaction, schema)
    const { rows } = await transaction.query<{ number: number }>(
      `select coalesce(max(number), 0) as number from ${quote(schema)}.migration`,
    )
    const reached = rows[0]?.number ?? 0
    if (reached > migrations.length) {
      throw new IncompatibleStoreError(
        'newer_schema',
        `schema ${schema} is at migration ${reached}, this version of headwater knows ${migrations.length}: deploy the newer version`,
      )
    }
    const wanted = migrations.slice(reached)
    for (const [i, { name, sql }] of wanted.entries()) {
      await transaction.query(forSchema(sql, schema))
      await transaction.query(`insert into ${quote(schema)}.migration (number, name) values ($1, $2)`, [reached + i + 1, name])
    }
    return wanted.map(({ name }) => name)
  })
}

async function createSchema(transaction: Transaction, schema: string): Promise<void> {
  const { rows } = await transaction.query('select from pg_catalog.pg_namespace where nspname = $1', [schema])
  if (rows.length === 0) {
    await transaction.query(`create schema ${quote(schema)}`).catch((error: unknown) => {
      if (!(error instanceof DatabaseError) || error.sqlState !== '42501') throw error
      throw new DatabaseError(
        '42501',
        `this role may not create schema ${schema}: grant it CREATE on the database, or have an administrator run: create schema ${quote(schema)} authorization <role>`,
        { cause: error },
      )
    })
  }
  await transaction.query(
    `create table if not exists ${quote(schema)}.migration (number integer primary key, name text not null, applied_at timestamptz not null default now())`,
  )
}
