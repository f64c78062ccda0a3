import type { Database, SqlClient, Transaction } from '../database/database.ts'
import { quote } from '../database/identifier.ts'
import { lockClass } from '../database/migrate.ts'
import { DatabaseError } from '../errors.ts'
import type { Clock } from '../internal/clock.ts'
import type { Log } from '../internal/log.ts'
import { type CaptureFunction, captureFunctions, type Watch } from './capture-sql.ts'

export interface CaptureRuntime {
  readonly database: Database
  /** Headwater's own schema. */
  readonly schema: string
  readonly clock: Clock
  readonly log: Log
}

interface Source {
  readonly relation: number
  readonly name: string
  readonly leaves: readonly number[]
  readonly primary_key: readonly string[]
}

/**
 * Makes the triggers of one table write marks for exactly the views that watch it now, and waits until every transaction that wrote to it
 * before is over: a change in flight at the registration of a view is seen either by its trigger or by its backfill. Takes a SHARE ROW
 * EXCLUSIVE lock for a moment; while another transaction is in the way it tries again each second, so that no writer queues long behind it.
 */
export async function installCapture(runtime: CaptureRuntime, relation: number): Promise<void> {
  for (let attempt = 1; ; attempt++) {
    try {
      await runtime.database.transaction((transaction) => install(transaction, runtime.schema, relation))
      return
    } catch (error) {
      if (!(error instanceof DatabaseError) || !inTheWay.has(error.sqlState)) throw error
      if (attempt % 5 === 1) runtime.log('info', 'waiting for open transactions before watching a table', { relation })
      await runtime.clock.sleep(200 + Math.random() * 800)
    }
  }
}

/** Another transaction held the table longer than we wait, or waited for us. */
const inTheWay = new Set(['55P03', '40P01'])

async function install(transaction: Transaction, schema: string, relation: number): Promise<void> {
  await transaction.query(`set local lock_timeout = '1s'`)
  await transaction.query('select pg_advisory_xact_lock($1::int, 1)', [lockClass(schema) + 2])
  const source = await readSource(transaction, schema, relation)
  if (!source) return
  const watches = await readWatches(transaction, schema, relation)
  await transaction.query(`lock table ${source.name} in share row exclusive mode`)
  if (watches.length === 0) return await uninstall(transaction, schema, source)
  const changed = await isChanged(transaction, schema, relation)
  const plain = await hasPlainKeys(transaction, relation, watches)
  for (const made of captureFunctions({ schema, relation, watches, primaryKey: source.primary_key, plain })) {
    await transaction.query(made.sql)
    for (const table of [source.name, ...(await tableNames(transaction, source.leaves))])
      await createTrigger(transaction, schema, table, made)
  }
  await transaction.query(`update ${quote(schema)}.source set fingerprint = ${fingerprintSql} where relation = $1::oid`, [relation])
  // What was written meanwhile left no marks, so every key is selected again; in this transaction, or a crash would lose that.
  if (changed) {
    await transaction.query(
      `insert into ${quote(schema)}.mark (view, lane, map, keys) select m.view, 1, -1, '{}' from ${quote(schema)}.map m where m.source = $1::oid`,
      [relation],
    )
  }
}

/** Whether the table, or one of its triggers, is not what it was when it was last looked at. Not asked the first time. */
async function isChanged(transaction: Transaction, schema: string, relation: number): Promise<boolean> {
  const { rows } = await transaction.query<{ changed: boolean }>(
    `select coalesce(fingerprint <> ${fingerprintSql}, false) as changed from ${quote(schema)}.source where relation = $1::oid`,
    [relation],
  )
  return rows[0]?.changed === true
}

async function createTrigger(transaction: Transaction, schema: string, table: string, made: CaptureFunction): Promise<void> {
  const name = quote(`${schema.slice(0, 40)}_${made.event}`)
  const referencing = {
    insert: 'referencing new table as new_rows',
    update: 'referencing old table as old_rows new table as new_rows',
    delete: 'referencing old table as old_rows',
    truncate: '',
  }[made.event]
  await transaction.query(
    `create or replace trigger ${name} after ${made.event} on ${table} ${referencing} for each statement execute function ${made.name}()`,
  )
  // Also where a replication worker or a restore writes.
  await transaction.query(`alter table ${table} enable always trigger ${name}`)
}

async function uninstall(transaction: Transaction, schema: string, source: Source): Promise<void> {
  for (const event of ['insert', 'update', 'delete', 'truncate']) {
    await transaction.query(`drop function if exists ${quote(schema)}.${quote(`capture_${source.relation}_${event}`)}() cascade`)
  }
  await transaction.query(`delete from ${quote(schema)}.source where relation = $1::oid`, [source.relation])
}

async function readSource(client: SqlClient, schema: string, relation: number): Promise<Source | undefined> {
  const { rows } = await client.query<Source>(
    `select s.relation::int8 as relation, s.relation::regclass::text as name, s.leaves::int8[] as leaves, s.primary_key
     from ${quote(schema)}.source s join pg_catalog.pg_class c on c.oid = s.relation where s.relation = $1::oid`,
    [relation],
  )
  const found = rows[0]
  return found && { ...found, name: (await tableNames(client, [relation]))[0] ?? found.name }
}

/** The qualified, quoted names, whatever the search path says. */
async function tableNames(client: SqlClient, relations: readonly number[]): Promise<readonly string[]> {
  const { rows } = await client.query<{ name: string }>(
    `select format('%I.%I', n.nspname, c.relname) as name from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
     where c.oid = any ($1::oid[]) order by 1`,
    [relations],
  )
  return rows.map(({ name }) => name)
}

async function readWatches(client: SqlClient, schema: string, relation: number): Promise<readonly Watch[]> {
  const { rows } = await client.query<Watch>(
    `select m.view, v.mode = 'sync' as sync, m.number as map, m.columns, m.reads
     from ${quote(schema)}.map m join ${quote(schema)}.view v on v.id = m.view
     where m.source = $1::oid order by m.view, m.number`,
    [relation],
  )
  return rows
}

const plainTypes = ['uuid', 'int2', 'int4', 'int8', 'text', 'varchar', 'bpchar', 'bool', 'numeric', 'oid']

/** Whether the text of every key column is the same under any session's settings, so that its trigger need not pin them. */
async function hasPlainKeys(client: SqlClient, relation: number, watches: readonly Watch[]): Promise<boolean> {
  const { rows } = await client.query(
    `select from pg_catalog.pg_attribute a join pg_catalog.pg_type t on t.oid = a.atttypid
     where a.attrelid = $1::oid and a.attname = any ($2::text[]) and t.typname <> all ($3::text[])`,
    [relation, watches.flatMap(({ columns }) => columns), plainTypes],
  )
  return rows.length === 0
}

/**
 * What of the catalogue a view depends on without a trigger ever firing: partitions, column names and types, the table's file (rewritten by
 * ALTER TYPE), and whether the triggers are enabled. An expression over the row of `source`.
 */
export const fingerprintSql = `(
  with recursive family(oid) as (select relation union select i.inhrelid from pg_catalog.pg_inherits i join family f on i.inhparent = f.oid)
  select md5(string_agg(c.oid || ':' || c.relfilenode || ':'
    || coalesce((select string_agg(a.attname || ' ' || a.atttypid || ' ' || a.atttypmod, ',' order by a.attnum)
                 from pg_catalog.pg_attribute a where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped), '') || ':'
    || coalesce((select string_agg(t.tgname || ' ' || t.tgenabled::text, ',' order by t.tgname) from pg_catalog.pg_trigger t where t.tgrelid = c.oid and not t.tgisinternal), ''),
    ';' order by c.oid))
  from family join pg_catalog.pg_class c on c.oid = family.oid)`

/** The sources whose catalogue entries are not what they were when capture was installed; `gone` when the table itself is not there any more. */
export async function changedSources(
  client: SqlClient,
  schema: string,
): Promise<readonly { relation: number; name: string; gone: boolean; leaves: readonly number[] }[]> {
  const { rows } = await client.query<{ relation: number; name: string; gone: boolean; leaves: readonly number[] }>(
    `select s.relation::int8 as relation, s.name, s.leaves::int8[] as leaves, not exists (select from pg_catalog.pg_class c where c.oid = s.relation) as gone
     from ${quote(schema)}.source s where s.fingerprint is distinct from ${fingerprintSql}`,
  )
  return rows
}

/** Brings the registered partitions of a source up to date. */
export async function refreshLeaves(client: SqlClient, schema: string, relation: number): Promise<void> {
  await client.query(
    `update ${quote(schema)}.source set leaves = coalesce((
       with recursive family(oid) as (select i.inhrelid from pg_catalog.pg_inherits i where i.inhparent = $1::oid
         union select i.inhrelid from pg_catalog.pg_inherits i join family f on i.inhparent = f.oid)
       select array_agg(oid order by oid) from family), '{}') where relation = $1::oid`,
    [relation],
  )
}
