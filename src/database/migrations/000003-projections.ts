/** Versions of projections, how far each is, and what is set aside. */
export const sql = `
-- One version of a projection. Its rows are in table_name, or in another store ('store' says which, null: this database). 'active' in read_model
-- says which one queries read; a paused or stopped version goes back to what it was by that and by built_at.
create table :schema.projection (
  id integer generated always as identity primary key,
  name text not null references :schema.read_model on delete cascade,
  version integer not null,
  code_hash text not null,
  mode text not null check (mode in ('sync', 'async')),
  state text not null check (state in ('building', 'live', 'previous', 'paused', 'stopped')),
  error text,
  error_code text,
  store text,
  table_name text not null,
  shape jsonb not null,
  created_at timestamptz not null default pg_catalog.clock_timestamp(),
  -- What the build had to fold when it began.
  build_started_at timestamptz,
  build_total bigint,
  built_at timestamptz,
  retired_at timestamptz,
  unique (name, version)
);

-- How far a range of the 64 virtual partitions of a version is, and who works on it. A sync projection has one range; an append moves it if it
-- stands at the head. For a version in another store the position is what its owner last reported; the store's own is the truth.
create table :schema.checkpoint (
  projection integer not null references :schema.projection on delete cascade,
  first smallint not null,
  last smallint not null,
  position bigint not null,
  event_id uuid,
  owner uuid,
  lease_until timestamptz,
  primary key (projection, first)
) with (fillfactor = 20, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_cost_delay = 0);

-- A key set aside: the first event that failed. Every later event of the key waits behind it. An append must not write the row of a parked key.
create table :schema.parked_key (
  projection integer not null references :schema.projection on delete cascade,
  key text collate "C" not null,
  position bigint not null,
  event_id uuid,
  reason text not null,
  parked_at timestamptz not null default pg_catalog.clock_timestamp(),
  primary key (projection, key)
);

-- Events that a person took out of a key's fold, and why.
create table :schema.skipped_event (
  projection integer not null references :schema.projection on delete cascade,
  key text collate "C" not null,
  position bigint not null,
  event_id uuid,
  reason text not null,
  skipped_at timestamptz not null default pg_catalog.clock_timestamp(),
  primary key (projection, key, position)
);

-- What a person asked of the owner of a key: it does it between two batches. A null key: all that are parked.
create table :schema.key_request (
  id bigint generated always as identity primary key,
  projection integer not null references :schema.projection on delete cascade,
  action text not null check (action in ('retry', 'skip', 'repair')),
  key text collate "C",
  reason text,
  requested_at timestamptz not null default pg_catalog.clock_timestamp(),
  done_at timestamptz,
  outcome text
);
create index key_request_open on :schema.key_request (projection) where done_at is null;

-- Processes that run projections, so that each takes its share.
create table :schema.projector (
  id uuid primary key,
  alive_until timestamptz not null
);

-- The public name of a read model: a view. Grants survive.
create function :schema.publish_as(model text, query text) returns void
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  public_name text := format('%I.%I', ':schema_name', model);
  grants text[];
  statement text;
begin
  select array_agg(format('grant %s on %s to %s%s', a.privilege_type, public_name,
    case when a.grantee = 0 then 'public' else quote_ident(r.rolname) end, case when a.is_grantable then ' with grant option' else '' end))
  into grants
  from pg_class c cross join aclexplode(c.relacl) a left join pg_roles r on r.oid = a.grantee
  where c.oid = to_regclass(public_name) and a.grantee <> c.relowner;
  execute format('drop view if exists %s', public_name);
  execute format('create view %s as %s', public_name, query);
  foreach statement in array coalesce(grants, '{}') loop
    execute statement;
  end loop;
end $$;
revoke all on function :schema.publish_as(text, text) from public;
`
