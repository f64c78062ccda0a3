/** Versions of projections, and how far each is. */
export const sql = `
-- One version of a projection. Its rows are in table_name, or in another store ('store' says which, null: this database).
create table :schema.projection (
  id integer generated always as identity primary key,
  name text not null references :schema.read_model on delete cascade,
  version integer not null,
  code_hash text not null,
  mode text not null check (mode in ('sync', 'async')),
  state text not null check (state in ('building', 'live', 'previous', 'paused', 'stopped')),
  error text,
  store text,
  table_name text not null,
  shape jsonb not null,
  created_at timestamptz not null default pg_catalog.clock_timestamp(),
  built_at timestamptz,
  retired_at timestamptz,
  unique (name, version)
);

-- How far a range of the 64 virtual partitions of a version is, and who works on it. A sync projection has one range; an append moves it if it stands at the head.
create table :schema.checkpoint (
  projection integer not null references :schema.projection on delete cascade,
  first smallint not null,
  last smallint not null,
  position bigint not null,
  event_id uuid,
  owner uuid,
  lease_until timestamptz,
  primary key (projection, first)
);
`
