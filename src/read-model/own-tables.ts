import type { SqlClient } from '../database/database.ts'
import { quote } from '../database/identifier.ts'
import { lockClass } from '../database/migrate.ts'
import { IncompatibleStoreError } from '../errors.ts'
import { together } from './together.ts'

/** Raised with every change of these tables that a version before it could not work with. */
const format = 1
const mark = 'Headwater store, format '

/** What each of them must have to be ours. */
const columns: Readonly<Record<string, readonly string[]>> = {
  stored_model: ['id', 'owner', 'name', 'version'],
  checkpoint: ['projection', 'first', 'last', 'position', 'event_id'],
  parked_key: ['projection', 'key', 'position', 'event_id', 'reason'],
}
const names = Object.keys(columns)

/** A table of Headwater's own schema in the write database. */
const homeTable = 'read_model'
const homeColumns = ['name', 'active', 'seen_at']

interface Found {
  readonly name: string
  readonly kind: string
  readonly comment: string | null
  readonly columns: readonly string[]
}

/**
 * The tables in which a store that is not in the write database keeps which versions it has and how far they are. Made when something is first written;
 * looked at before anything is read, until they are known to be there.
 */
export class OwnTables {
  readonly #client: SqlClient
  readonly #schema: string
  readonly #description: string
  #isReady = false
  #making: Promise<void> | undefined

  constructor(client: SqlClient, schema: string, description: string) {
    this.#client = client
    this.#schema = schema
    this.#description = description
  }

  /** @throws {IncompatibleStoreError} something else lives in the schema, or a newer version made the tables */
  async check(): Promise<void> {
    if (!this.#isReady) this.#isReady = await this.#look(this.#client)
  }

  /** Makes them, or brings them to this version; processes that begin together take turns. Throws what {@link check} throws. */
  async ensure(): Promise<void> {
    await this.check()
    if (this.#isReady) return
    this.#making ??= this.#make().finally(() => {
      this.#making = undefined
    })
    await this.#making
  }

  /** They may be gone. */
  forget(): void {
    this.#isReady = false
  }

  async #make(): Promise<void> {
    this.#isReady = await together(this.#client, async (client) => {
      // "if not exists" is no help where two do it at once.
      await lockTables(client, this.#schema)
      if (!(await this.#look(client))) await client.query(ownTables(this.#schema))
      return true
    })
  }

  /** Whether they are there, as this version makes them. */
  async #look(client: SqlClient): Promise<boolean> {
    const { rows } = await client.query<Found>(lookSql, [this.#schema, [...names, homeTable]], { prepare: true })
    const found = new Map(rows.map((row) => [row.name, row]))
    if (lacking(found.get(homeTable), homeColumns).length === 0) {
      throw this.#foreign("holds an application's own tables, its commands and how far its read models are")
    }
    for (const name of names) {
      const table = found.get(name)
      const [column] = table ? lacking(table, columns[name] ?? []) : []
      if (column !== undefined) throw this.#foreign(`holds ${name}, which Headwater did not make: it is no table with a column "${column}"`)
    }
    const made = formatOf(found.get('stored_model'))
    if (made > format) {
      throw new IncompatibleStoreError(
        'newer_schema',
        `${this.#description}: its tables are in format ${made}, and this version knows ${format}; deploy the version that made them, or give another schema`,
      )
    }
    return made === format && names.every((name) => found.has(name))
  }

  #foreign(what: string): IncompatibleStoreError {
    const said = `${this.#description}: schema ${this.#schema} ${what}; give the store a schema of its own: postgresStore(address, { schema })`
    return new IncompatibleStoreError('other_version', said)
  }
}

/** One at a time makes or drops tables of a store, until its transaction ends. */
export async function lockTables(client: SqlClient, schema: string): Promise<void> {
  await client.query('select pg_advisory_xact_lock($1::int, 5)', [lockClass(schema) + 2])
}

function lacking(table: Found | undefined, wanted: readonly string[]): readonly string[] {
  return table && (table.kind === 'r' || table.kind === 'p') ? wanted.filter((column) => !table.columns.includes(column)) : wanted
}

/** 0: from before formats were told. */
function formatOf(table: Found | undefined): number {
  return table?.comment?.startsWith(mark) ? Number.parseInt(table.comment.slice(mark.length), 10) || 0 : 0
}

const lookSql = `select c.relname::text as name, c.relkind::text as kind, obj_description(c.oid, 'pg_class') as comment,
    array(select a.attname::text from pg_catalog.pg_attribute a where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped) as columns
  from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace where n.nspname = $1 and c.relname = any ($2::text[])`

/** Each statement leaves alone what is there. */
function ownTables(schema: string): string {
  const s = quote(schema)
  return `create schema if not exists ${s};
    create table if not exists ${s}.stored_model (
      id integer generated always as identity primary key, owner text not null, name text not null, version integer not null,
      created_at timestamptz not null default now(), unique (owner, name, version));
    create table if not exists ${s}.checkpoint (
      projection integer not null references ${s}.stored_model on delete cascade, first smallint not null, last smallint not null,
      position bigint not null, event_id text, primary key (projection, first)) with (fillfactor = 20);
    alter table ${s}.checkpoint add column if not exists turn integer not null default 0;
    create table if not exists ${s}.parked_key (
      projection integer not null references ${s}.stored_model on delete cascade, key text collate "C" not null, position bigint not null,
      event_id text, reason text not null, parked_at timestamptz not null default now(), primary key (projection, key));
    comment on table ${s}.stored_model is '${mark}${format}'`
}
