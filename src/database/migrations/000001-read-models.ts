/**
 * Marks, versions of read models, and the functions that keep them in step.
 *
 * Functions that run an application's SELECT pin every setting that could change its answer, so that what a row says never depends on
 * who writes or who recomputes. Locks are always taken in the order: the application's rows, then buckets of view keys, ascending.
 */
export const sql = `
create table :schema.generation (
  id uuid not null default pg_catalog.gen_random_uuid(),
  identity jsonb not null,
  created_at timestamptz not null default pg_catalog.clock_timestamp()
);

create table :schema.command (
  name text not null,
  key text not null,
  input_hash text not null,
  state text not null check (state in ('running', 'done', 'refused', 'abandoned')),
  result jsonb,
  code text,
  xid xid8 not null default pg_catalog.pg_current_xact_id(),
  fan_out boolean not null default false,
  created_at timestamptz not null default pg_catalog.clock_timestamp(),
  primary key (name, key)
);
create index command_created_at on :schema.command (created_at);

create table :schema.read_model (
  name text primary key,
  active integer,
  seen_at timestamptz not null default pg_catalog.clock_timestamp()
);

-- One version of a materialized view. 'previous' is the one before the live one, kept up to date for a rollback.
create table :schema.view (
  id integer generated always as identity primary key,
  name text not null references :schema.read_model on delete cascade,
  version integer not null,
  fingerprint text not null,
  mode text not null check (mode in ('sync', 'async')),
  state text not null check (state in ('installing', 'building', 'live', 'previous', 'stopped')),
  error text,
  table_name text not null,
  shape jsonb not null,
  -- Which store holds its rows; null: the table of this database.
  store text,
  echo boolean not null,
  select_sql text not null,
  refresh_sql text not null,
  enqueue_sql text not null,
  difference_sql text not null,
  range_sql text not null,
  keys_total bigint,
  build_started_at timestamptz,
  built_at timestamptz,
  retired_at timestamptz,
  unique (name, version)
);

-- How far a version in another store is. Each batch has a number, taken from view_batch after its marks were claimed and before its rows were
-- selected, and an id; both stand in the store too, written as one with the rows. 'reached' and 'batch_id' are the last batch whose marks went;
-- 'intended' are ids of batches that may have been written after it. 'seed' begins every id and tells the rows of this version from anybody else's.
create sequence :schema.view_batch;
create table :schema.view_store (
  view integer primary key references :schema.view on delete cascade,
  seed text not null default pg_catalog.substr(pg_catalog.replace(pg_catalog.gen_random_uuid()::text, '-', ''), 1, 12),
  reached bigint not null default 0,
  batch_id text,
  intended text[] not null default '{}',
  -- Its rows are being written anew, and do not serve.
  filling boolean not null default true,
  -- Somebody else's rows are in its place, and a person was told: resuming it overwrites them.
  overwrite boolean not null default false,
  trouble text,
  owner uuid,
  lease_until timestamptz
) with (fillfactor = 20, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_cost_delay = 0);

-- What a changed row of a source touches. number 0: its columns hold the key; above: expand_sql selects the keys; -1: every key.
create table :schema.map (
  view integer not null references :schema.view on delete cascade,
  source oid not null,
  number smallint not null,
  columns text[] not null,
  reads text[],
  expand_sql text,
  primary key (view, source)
);

create table :schema.source (
  relation oid primary key,
  name text not null,
  leaves oid[] not null,
  primary_key text[] not null,
  fingerprint text
);

-- A change that a view has yet to take in, written in the writer's own transaction. map 0: keys are the view's keys; above: parameters of
-- that map; -1: every key; -2: capture broke, keys[1] says how. lane 0: few keys; 1: fan-out and bulk; 2: backfill. A mark that a sync view
-- has already applied stays behind as its own echo and carries the snapshot of that recompute.
create table :schema.mark (
  view integer not null,
  lane smallint not null,
  xid xid8 not null default pg_catalog.pg_current_xact_id(),
  map smallint not null,
  keys text[] not null,
  cursor text,
  snapshot pg_snapshot,
  at timestamptz not null default pg_catalog.clock_timestamp()
) with (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000, autovacuum_vacuum_cost_delay = 0);
create index mark_claim on :schema.mark (view, lane, xid);

-- The marks of one transaction for one view, but for backfill. One lane at a time: for "lane in (0, 1)", or with an "or", every entry of the view
-- would be read, since the statistics of a table that is mostly empty promise that this is cheap.
create function :schema.marks_of(view_id integer, origin xid8)
returns table (id tid, map smallint, keys text[], snapshot pg_snapshot) language sql stable as $$
  select m.ctid, m.map, m.keys, m.snapshot from :schema.mark m where m.view = view_id and m.lane = 0 and m.xid = origin
  union all
  select m.ctid, m.map, m.keys, m.snapshot from :schema.mark m where m.view = view_id and m.lane = 1 and m.xid = origin
$$;

create table :schema.parked (
  view integer not null references :schema.view on delete cascade,
  key text not null,
  reason text not null,
  sql_state text not null,
  xids xid8[] not null,
  parked_at timestamptz not null default pg_catalog.clock_timestamp(),
  primary key (view, key)
);

-- What happened inside a writer's transaction and a person should hear of; a worker logs and removes it.
create table :schema.complaint (
  view integer not null,
  message text not null,
  at timestamptz not null default pg_catalog.clock_timestamp()
);

-- One row for a transaction that touched a sync view, so that one deferred trigger fires at its end.
create table :schema.due (xid xid8 primary key default pg_catalog.pg_current_xact_id());

-- Marks for a long list of keys, in chunks that one batch can take. Keys of one bucket go together, so that a batch locks few buckets and
-- single keys of others pass it by.
create function :schema.split(view_id integer, lane integer, origin xid8, keys text[]) returns void
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
  execute format('insert into :schema.mark (view, lane, xid, map, keys)
    select $1, $2, $3, 0, array_agg(k order by n)
    from (select k, row_number() over (order by :schema.bucket_%s(k)) as n from unnest($4) k) s group by (n - 1) / 500', view_id)
  using view_id, lane, origin, keys;
end $$;

-- Locks the keys' buckets, in a statement of its own so that whatever committed before the lock was had is seen, then selects the keys again and
-- brings the table to what came back. The view's own function does it with a plan that its session keeps; a large batch is planned for its size.
create function :schema.recompute(view_id integer, keys text[], out seen pg_snapshot, out written integer, out deleted integer)
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp set row_security = off set timezone = 'UTC' set datestyle = 'ISO, MDY' set intervalstyle = 'postgres'
set extra_float_digits = 1 set bytea_output = 'hex' set default_text_search_config = 'pg_catalog.english' set jit = off as $$
begin
  if cardinality(keys) <= 64 then
    execute 'select * from :schema.recompute_' || view_id || '($1)' into seen, written, deleted using keys;
  else
    execute 'select :schema.lock_' || view_id || '($1)' using keys;
    seen := pg_current_snapshot();
    execute (select w.refresh_sql from :schema.view w where w.id = view_id) into written, deleted using keys;
  end if;
end $$;

-- A batch of a worker. A key that fails alone is parked: a failing batch is halved until it is known which. Errors that are not a key's own
-- (the connection, resources, a changed schema) are raised.
create function :schema.refresh(view_id integer, keys text[], origins xid8[], out written integer, out deleted integer, out parked integer)
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  state text;
  message text;
  half integer;
  a record;
  b record;
begin
  parked := 0;
  begin
    select r.written, r.deleted into written, deleted from :schema.recompute(view_id, keys) r;
    if exists (select from :schema.parked p where p.view = view_id) then
      delete from :schema.parked p where p.view = view_id and p.key = any (keys);
    end if;
    return;
  exception when others then
    get stacked diagnostics state = returned_sqlstate, message = message_text;
    if left(state, 2) in ('08', '0A', '25', '26', '3D', '3F', '40', '42', '53', '54', '55', '57', '58', 'F0', 'XX') then
      raise;
    end if;
  end;
  if cardinality(keys) = 1 then
    insert into :schema.parked as p (view, key, reason, sql_state, xids) values (view_id, keys[1], message, state, origins)
    on conflict (view, key) do update set reason = excluded.reason, sql_state = excluded.sql_state, xids = excluded.xids, parked_at = excluded.parked_at;
    written := 0; deleted := 0; parked := 1;
    return;
  end if;
  half := cardinality(keys) / 2;
  a := :schema.refresh(view_id, keys[1:half], origins);
  b := :schema.refresh(view_id, keys[half + 1:], origins);
  written := a.written + b.written; deleted := a.deleted + b.deleted; parked := a.parked + b.parked;
end $$;

-- Takes one claimed mark to the keys that a batch recomputes; what is too much for one batch becomes marks in lane 1 of the same origin.
create function :schema.expand(m :schema.mark) returns text[]
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp set row_security = off set timezone = 'UTC' set datestyle = 'ISO, MDY' set intervalstyle = 'postgres'
set extra_float_digits = 1 set bytea_output = 'hex' set jit = off as $$
declare
  found_keys text[];
  expansion text;
begin
  if m.map = 0 then
    if cardinality(m.keys) <= 1000 then return m.keys; end if;
    perform :schema.split(m.view, 1, m.xid, m.keys);
    return '{}';
  end if;
  if m.map = -1 then
    execute (select w.enqueue_sql from :schema.view w where w.id = m.view) using m.view, 1, m.xid;
    return '{}';
  end if;
  select p.expand_sql into strict expansion from :schema.map p where p.view = m.view and p.number = m.map;
  execute expansion into found_keys using m.keys, m.cursor, 5001;
  if found_keys is null then return '{}'; end if;
  if m.cursor is null and cardinality(found_keys) <= 500 then return found_keys; end if;
  perform :schema.split(m.view, 1, m.xid, found_keys[1:5000]);
  if cardinality(found_keys) > 5000 then
    insert into :schema.mark (view, lane, xid, map, keys, cursor) values (m.view, 1, m.xid, m.map, m.keys, found_keys[5000]);
  end if;
  return '{}';
end $$;

-- One batch: claims marks and selects their keys again; claim and rows commit together. 'since' bounds the claim from below for marks of lane 0 and is null for a
-- full look; 'horizon' is what the next 'since' may be when a full look found nothing.
create function :schema.drain(view_id integer, bulk_first boolean, since xid8,
  out claimed integer, out keys integer, out written integer, out deleted integer, out parked integer, out horizon xid8)
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  m :schema.mark;
  gathered text[] := '{}';
  origins xid8[] := '{}';
  done record;
  bulk boolean;
begin
  claimed := 0; keys := 0; written := 0; deleted := 0; parked := 0;
  if not exists (select from :schema.view w where w.id = view_id and w.state in ('building', 'live', 'previous'))
    or not pg_try_advisory_xact_lock_shared(:lock_class + 1, view_id) then return; end if;
  horizon := pg_snapshot_xmin(pg_current_snapshot());
  foreach bulk in array array[bulk_first, not bulk_first] loop
    -- Bulk is one worker's at a time: it is no faster by more, and single keys are not held up by all of them.
    continue when bulk and not pg_try_advisory_xact_lock(:lock_class + 3, view_id);
    for m in
      delete from :schema.mark where ctid = any (case when bulk
        then array(select k.ctid from :schema.mark k where k.view = view_id and k.lane > 0 order by k.lane, k.xid limit 2 for update skip locked)
        else array(select k.ctid from :schema.mark k where k.view = view_id and k.lane = 0 and k.xid >= coalesce(since, '0'::xid8)
                   order by k.xid limit 1000 for update skip locked) end)
      returning *
    loop
      claimed := claimed + 1;
      if m.map = -2 then
        raise exception using errcode = 'HW002', message = m.keys[1];
      end if;
      gathered := gathered || :schema.expand(m);
      origins := origins || m.xid;
    end loop;
    exit when claimed > 0;
  end loop;
  select array_agg(distinct k) into gathered from unnest(gathered) k;
  if gathered is null then return; end if;
  keys := cardinality(gathered);
  done := :schema.refresh(view_id, gathered, origins);
  written := done.written; deleted := done.deleted; parked := done.parked;
  if parked >= 20 and parked = keys then
    raise exception using errcode = 'HW001', message = 'every one of ' || keys || ' keys failed: '
      || (select p.reason from :schema.parked p where p.view = view_id and p.key = gathered[1]);
  end if;
end $$;

-- Begins a batch of a view in another store: its keys, and the marks that go when the store has them. One process at a time; who says nothing for
-- three seconds is passed over, which is harmless, since the store takes one batch after each. 'everything' is the lane of a mark that means every key;
-- 'filled' says that a filling has come to its end.
create function :schema.store_claim(view_id integer, who uuid, bulk_first boolean, since xid8,
  out claimed integer, out busy boolean, out reached bigint, out batch_id text, out seed text, out filling boolean, out number bigint,
  out keys text[], out marks text, out origins text, out everything integer, out filled boolean, out horizon xid8)
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  s :schema.view_store;
  m record;
  gathered text[] := '{}';
  more text[];
  ids tid[] := '{}';
  xids xid8[] := '{}';
  bulk boolean;
begin
  claimed := 0; busy := true; filled := false; keys := '{}';
  if not exists (select from :schema.view w where w.id = view_id and w.state in ('building', 'live', 'previous'))
    or not pg_try_advisory_xact_lock_shared(:lock_class + 1, view_id) then return; end if;
  horizon := pg_snapshot_xmin(pg_current_snapshot());
  select * into s from :schema.view_store t where t.view = view_id for update skip locked;
  if not found or (s.owner <> who and s.lease_until > clock_timestamp()) then return; end if;
  busy := false; reached := s.reached; batch_id := s.batch_id; seed := s.seed; filling := s.filling;
  foreach bulk in array array[bulk_first, not bulk_first] loop
    for m in
      select k.ctid as id, k.lane, k.xid, k.map, k.keys, k as whole from :schema.mark k where k.ctid = any (case when bulk
        then array(select b.ctid from :schema.mark b where b.view = view_id and b.lane > 0 order by b.lane, b.xid limit 4)
        else array(select b.ctid from :schema.mark b where b.view = view_id and b.lane = 0 and b.xid >= coalesce(since, '0'::xid8)
                   order by b.xid limit 1000) end)
      order by k.map
    loop
      if m.map = -2 then
        raise exception using errcode = 'HW002', message = m.keys[1];
      end if;
      if m.map = -1 then
        continue when claimed > 0;
        claimed := 1; everything := m.lane; ids := array[m.id]; xids := array[m.xid];
        exit;
      end if;
      claimed := claimed + 1;
      more := :schema.expand(m.whole);
      if cardinality(more) = 0 then
        -- It became other marks, or no key depends on it.
        delete from :schema.mark k where k.ctid = m.id;
        continue;
      end if;
      gathered := gathered || more; ids := ids || m.id; xids := xids || m.xid;
      exit when cardinality(gathered) >= 1000;
    end loop;
    exit when claimed > 0;
  end loop;
  filled := s.filling and claimed = 0 and not exists (select from :schema.mark k where k.view = view_id and k.lane = 2);
  if cardinality(ids) = 0 and not filled then return; end if;
  keys := array(select distinct k from unnest(gathered) k);
  marks := ids::text; origins := xids::text;
  number := nextval(':schema.view_batch');
  update :schema.view_store t set owner = who, lease_until = clock_timestamp() + interval '3 seconds' where t.view = view_id;
end $$;

-- A batch is about to be written. Commits durably, and after its rows were read: what they show of transactions that asked for no durability is then
-- durable too. False: somebody else was faster.
create function :schema.store_intend(view_id integer, who uuid, at_reached bigint, at_id text, next_id text) returns boolean
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
  if current_setting('synchronous_commit') = 'off' then perform set_config('synchronous_commit', 'on', true); end if;
  update :schema.view_store t
  set intended = t.intended || next_id, owner = who, lease_until = clock_timestamp() + interval '3 seconds'
  where t.view = view_id and t.reached = at_reached and t.batch_id is not distinct from at_id;
  return found;
end $$;

-- The store has a batch: its marks go. False: somebody else has gone on from where it began, and its marks stay. Waits for a switch under way, which
-- compares marks.
create function :schema.store_written(view_id integer, at_reached bigint, at_id text, next_reached bigint, next_id text, is_filled boolean,
  marks tid[], origins xid8[], park text[], reasons text[], states text[], unpark text[]) returns boolean
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
  perform pg_advisory_xact_lock_shared(:lock_class + 1, view_id);
  update :schema.view_store t
  set reached = next_reached, batch_id = next_id, intended = '{}', filling = t.filling and not is_filled, trouble = null, owner = null
  where t.view = view_id and t.reached = at_reached and t.batch_id is not distinct from at_id and next_id = any (t.intended);
  if not found then return false; end if;
  -- A place may have been taken by another mark since; it is not of these transactions.
  delete from :schema.mark k where k.ctid = any (marks) and k.view = view_id and k.xid = any (origins);
  if cardinality(unpark) > 0 then
    delete from :schema.parked p where p.view = view_id and p.key = any (unpark);
  end if;
  insert into :schema.parked as p (view, key, reason, sql_state, xids)
  select view_id, f.key, f.reason, f.state, store_written.origins from unnest(park, reasons, states) f(key, reason, state)
  on conflict (view, key) do update set reason = excluded.reason, sql_state = excluded.sql_state, xids = excluded.xids, parked_at = excluded.parked_at;
  return true;
end $$;

-- A batch that the store has, and whose process did not live to say so. Its marks stay, and are taken in again.
create function :schema.store_adopt(view_id integer, at_reached bigint, at_id text, next_reached bigint, next_id text, is_filled boolean) returns boolean
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
  update :schema.view_store t
  set reached = next_reached, batch_id = next_id, intended = '{}', filling = t.filling and not is_filled, owner = null
  where t.view = view_id and t.reached = at_reached and t.batch_id is not distinct from at_id and next_id = any (t.intended)
    and (t.owner is null or t.lease_until < clock_timestamp());
  return found;
end $$;

-- The store is not where it was left: nothing in it counts, and every key is selected again. False: somebody else has gone on.
create function :schema.store_refill(view_id integer, at_reached bigint, at_id text, at_intended text[]) returns boolean
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
  update :schema.view_store t set batch_id = null, intended = '{}', filling = true, overwrite = false, owner = null
  where t.view = view_id and t.reached = at_reached and t.batch_id is not distinct from at_id and t.intended = at_intended;
  if not found then return false; end if;
  delete from :schema.parked p where p.view = view_id;
  perform :schema.enqueue(view_id);
  return true;
end $$;

-- Makes of a mark that means every key marks of the keys of the SELECT. Keys that only the store has were marked before.
create function :schema.store_everything(view_id integer, marks tid[], origins xid8[], lane integer) returns void
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp set row_security = off set timezone = 'UTC' set datestyle = 'ISO, MDY' set intervalstyle = 'postgres'
set extra_float_digits = 1 set bytea_output = 'hex' set default_text_search_config = 'pg_catalog.english' set jit = off as $$
declare
  total bigint;
begin
  delete from :schema.mark k where k.ctid = any (marks) and k.view = view_id and k.xid = any (origins) and k.map = -1;
  if not found then return; end if;
  execute (select w.enqueue_sql from :schema.view w where w.id = view_id) using view_id, lane, origins[1];
  if lane = 2 then
    select coalesce(sum(cardinality(k.keys)), 0) into total from :schema.mark k where k.view = view_id and k.lane = 2;
    update :schema.view w set keys_total = total where w.id = view_id;
  end if;
end $$;

-- The sync pass of one view in the writer's own transaction: recomputes the keys of its marks, up to 1,000; the surplus is left to a worker.
create function :schema.apply(view_id integer, echo boolean, origin xid8) returns void
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp set row_security = off set timezone = 'UTC' set datestyle = 'ISO, MDY' set intervalstyle = 'postgres'
set extra_float_digits = 1 set bytea_output = 'hex' set jit = off set enable_seqscan = off set plan_cache_mode = force_generic_plan as $$
declare
  gathered text[];
  more text[];
  applied tid[];
  m record;
  as_of pg_snapshot;
begin
  select array_agg(c.k), array_agg(distinct c.id) into gathered, applied
  from (select t.id, unnest(t.keys) k from :schema.marks_of(view_id, origin) t where t.map = 0 and t.snapshot is null limit 1001) c;
  if cardinality(gathered) > 1000 then return; end if;
  if echo then
    for m in
      select c.id, c.keys, p.expand_sql from :schema.marks_of(view_id, origin) c join :schema.map p on p.view = view_id and p.number = c.map
      where c.map > 0 and c.snapshot is null
    loop
      execute m.expand_sql into more using m.keys, null::text, 1001;
      continue when coalesce(cardinality(gathered), 0) + coalesce(cardinality(more), 0) > 1000;
      gathered := gathered || more;
      applied := applied || m.id;
    end loop;
  end if;
  if applied is null then return; end if;
  if gathered is null then
    as_of := pg_current_snapshot();
  else
    as_of := (:schema.recompute(view_id, array(select distinct k from unnest(gathered) k))).seen;
  end if;
  if echo then
    update :schema.mark c set snapshot = as_of where c.ctid = any (applied);
  else
    delete from :schema.mark c where c.ctid = any (applied);
  end if;
end $$;

-- Fires once at the end of a transaction that touched sync views. It never makes the writer fail: what cannot be applied stays marked,
-- and a worker takes it in. A transaction whose snapshot is older than the key locks (REPEATABLE READ and above) leaves it all to the worker.
create function :schema.apply_sync() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp set enable_seqscan = off set plan_cache_mode = force_generic_plan as $$
declare
  v record;
begin
  delete from :schema.due d where d.xid = new.xid;
  if current_setting('transaction_isolation') <> 'read committed' then return null; end if;
  for v in
    select w.id, w.echo from :schema.view w
    where w.mode = 'sync' and w.state in ('building', 'live', 'previous')
      and exists (select from :schema.marks_of(w.id, new.xid) m where m.snapshot is null)
    order by w.id
  loop
    begin
      perform :schema.apply(v.id, v.echo, new.xid);
    exception when others then
      insert into :schema.complaint (view, message) values (v.id, sqlerrm);
    end;
  end loop;
  return null;
end $$;

create constraint trigger apply_sync after insert on :schema.due deferrable initially deferred
for each row execute function :schema.apply_sync();

-- Enqueues every key of a view, of its SELECT and of its table, in lane 2: backfill and repair. Returns how many.
create function :schema.enqueue(view_id integer) returns bigint
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp set row_security = off set timezone = 'UTC' set datestyle = 'ISO, MDY' set intervalstyle = 'postgres'
set extra_float_digits = 1 set bytea_output = 'hex' set default_text_search_config = 'pg_catalog.english' as $$
declare
  v :schema.view;
  total bigint;
begin
  select * into strict v from :schema.view w where w.id = view_id;
  delete from :schema.mark m where m.view = view_id and m.lane = 2;
  if v.store is not null then
    -- Which keys the store has only a worker can tell.
    insert into :schema.mark (view, lane, map, keys) values (view_id, 2, -1, '{}');
    update :schema.view w set keys_total = null, build_started_at = clock_timestamp() where w.id = view_id;
    return 0;
  end if;
  execute v.enqueue_sql using v.id, 2, pg_current_xact_id();
  select coalesce(sum(cardinality(m.keys)), 0) into total from :schema.mark m where m.view = view_id and m.lane = 2;
  update :schema.view w set keys_total = total, build_started_at = clock_timestamp() where w.id = view_id;
  return total;
end $$;

-- Compares rows with the SELECT in one snapshot: the given keys, or a range of keys (lo, hi]. 'waiting' says that a mark may explain a
-- difference; one without is drift.
create function :schema.compare(view_id integer, sample text[], lo text, hi text,
  out checked bigint, out keys text[], out kinds text[], out waiting boolean[])
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp set row_security = off set timezone = 'UTC' set datestyle = 'ISO, MDY' set intervalstyle = 'postgres'
set extra_float_digits = 1 set bytea_output = 'hex' set default_text_search_config = 'pg_catalog.english' set jit = off as $$
declare
  v :schema.view;
begin
  select * into strict v from :schema.view w where w.id = view_id;
  if sample is not null then
    execute v.difference_sql into checked, keys, kinds, waiting using sample, view_id;
  else
    execute v.range_sql into checked, keys, kinds, waiting using lo, hi, view_id;
  end if;
end $$;

-- This and the two below are in plpgsql for its plans, which a session keeps: as SQL functions they would be planned with each call.
--
-- For each view that a token asks for: its state, how many of the token's writes it lacks, and whether one of them is parked there. A write
-- is there when no mark of its transaction is left but such as the view has applied itself, and, where it fanned out, when no recompute that
-- did not see it waits for its echo.
create function :schema.outstanding(views integer[], writes xid8[], fans boolean[], up_to xid8)
returns table (view integer, state text, lacking integer, parked boolean, ahead boolean)
language plpgsql stable security definer set search_path = pg_catalog, pg_temp set jit = off set enable_seqscan = off set plan_cache_mode = force_generic_plan as $$
#variable_conflict use_column
begin
  return query
  select v.id, v.state,
    (select count(*) from unnest(writes, fans) t(xid, fan)
     where exists (select from :schema.marks_of(v.id, t.xid) m where m.snapshot is null or m.map <> 0)
        or (t.fan and exists (select from :schema.mark m where m.view = v.id and m.snapshot is not null and not pg_visible_in_snapshot(t.xid, m.snapshot))))::integer
    + (case when up_to is not null and (
        exists (select from :schema.mark m where m.view = v.id and m.lane = 0 and m.xid <= up_to and (m.snapshot is null or m.map <> 0))
        or exists (select from :schema.mark m where m.view = v.id and m.lane = 1 and m.xid <= up_to and (m.snapshot is null or m.map <> 0)))
       then 1 else 0 end),
    exists (select from :schema.parked p where p.view = v.id and p.xids && writes),
    exists (select from unnest(writes) t(xid) where t.xid >= pg_snapshot_xmax(pg_current_snapshot()))
  from :schema.view v where v.id = any (views);
end $$;

-- Of some writes those that a maintained view has yet to take in: what a token must go on naming.
create function :schema.unapplied(writes xid8[], fans boolean[]) returns setof xid8
language plpgsql stable security definer set search_path = pg_catalog, pg_temp set jit = off set enable_seqscan = off set plan_cache_mode = force_generic_plan as $$
#variable_conflict use_column
begin
  return query
  select t.xid from unnest(writes, fans) t(xid, fan)
  where exists (select from :schema.view v where
      exists (select from :schema.marks_of(v.id, t.xid) m where m.snapshot is null or m.map <> 0)
      or exists (select from :schema.parked p where p.view = v.id and t.xid = any (p.xids))
      or (t.fan and exists (select from :schema.mark m where m.view = v.id and m.snapshot is not null and not pg_visible_in_snapshot(t.xid, m.snapshot))));
end $$;

-- How far behind each maintained view is: the age of its oldest change that waits, and whether any mark waits at all.
create function :schema.pending() returns table (view integer, lag_ms double precision, waiting boolean)
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp set jit = off set enable_seqscan = off set plan_cache_mode = force_generic_plan as $$
#variable_conflict use_column
begin
  return query
  select v.id,
    greatest(0, extract(epoch from clock_timestamp() - least(
      (select m.at from :schema.mark m where m.view = v.id and m.lane = 0 and m.snapshot is null order by m.xid limit 1),
      (select m.at from :schema.mark m where m.view = v.id and m.lane = 1 and m.snapshot is null order by m.xid limit 1))) * 1000)::double precision,
    exists (select from :schema.mark m where m.view = v.id)
  from :schema.view v where v.state in ('building', 'live', 'previous');
end $$;

-- Makes a version the one that queries read, in one step: the old version's worker is held, the new one drained until it lacks nothing that
-- the old one has, so that no token that was satisfied before is unsatisfied after. Returns false when that was not reached in time.
create function :schema.switch(view_id integer) returns boolean
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  v :schema.view;
  old integer;
  rounds integer := 0;
begin
  select * into strict v from :schema.view w where w.id = view_id for update;
  if exists (select from :schema.view_store t where t.view = view_id and t.filling) then return false; end if;
  select r.active into old from :schema.read_model r where r.name = v.name for update;
  if old is distinct from view_id and old is not null then
    perform pg_advisory_xact_lock(:lock_class + 1, old);
  end if;
  while exists (select from :schema.mark n where n.view = view_id and (n.lane = 2 or (old is not null and not exists
    (select from :schema.marks_of(old, n.xid)))))
  loop
    rounds := rounds + 1;
    -- What is in another store only a worker can bring there.
    if rounds > 100 or v.store is not null then return false; end if;
    perform :schema.drain(view_id, rounds % 2 = 0, null);
  end loop;
  update :schema.view w set state = 'previous', retired_at = clock_timestamp() where w.name = v.name and w.id <> view_id and w.state = 'live';
  update :schema.view w set state = 'live', retired_at = null, built_at = coalesce(w.built_at, clock_timestamp()) where w.id = view_id;
  update :schema.read_model r set active = view_id where r.name = v.name;
  if v.store is null then
    perform :schema.publish(v.name, v.table_name);
  else
    execute format('drop view if exists %I.%I', ':schema_name', v.name);
  end if;
  return true;
end $$;

-- The public name of a read model: a view over the table of its live version. Grants survive.
create function :schema.publish(model text, table_name text) returns void
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
  execute format('create view %s as select * from %I.%I', public_name, ':schema_name', table_name);
  foreach statement in array coalesce(grants, '{}') loop
    execute statement;
  end loop;
end $$;
`
