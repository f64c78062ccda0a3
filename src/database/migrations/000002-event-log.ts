/**
 * The log: events, the function that appends them, and what table commands stage for it.
 *
 * `append` pins the settings that decide its plans: they are made once per session, maybe while the tables are still empty, and must
 * be good for ever. An access by index is never wrong here.
 */
export const sql = `
create table :schema.event (
  position bigint primary key,
  stream text collate "C" not null,
  version integer not null,
  id uuid not null,
  type text collate "C" not null,
  schema_version smallint not null,
  data json not null,
  metadata json not null,
  time timestamptz not null,
  unique (stream, version)
);
create index event_type on :schema.event (type, position);

-- Calls of 'append' whose answer was lost and which must not take effect any more.
create table :schema.fence (
  call uuid primary key,
  at timestamptz not null default pg_catalog.clock_timestamp()
);

-- Appends a group of requests and judges each. Under the log's lock, which is the last of all locks, so that nothing but the commit is waited
-- for while it is held; each statement after it sees what committed before. Requests are numbered from 1; entries of the same number are one
-- request. No two requests of a group have a stream or a key in common: that is why all can be judged against what is stored.
--
-- expected: a version, -1 for any but 0, -2 for any. verdicts: 0 appended, 1 conflict, 2 stale, 3 duplicate. versions: of each stream entry
-- before the append. head: the position before the append. behind: of the sync projections in 'kept' those that did not move along.
create function :schema.append(
  call uuid, believed text, request_count integer, request_events integer[],
  stream_request integer[], stream_name text[], stream_expected integer[],
  event_entry integer[], event_offset integer[], event_stream text[], event_id uuid[], event_type text[], event_schema smallint[],
  event_data json[], event_metadata json[],
  key_request integer[], key_name text[], key_text text[], key_hash text[], key_state text[], key_result text[], key_code text[],
  kept integer[],
  row_request integer[], row_projection integer[], row_key text[], row_was bigint[], row_event integer[], row_version integer[], row_json text[],
  row_texts text[], need_request integer[], need_on integer[],
  out outcome text, out xid text, out head bigint, out verdicts integer[], out versions integer[], out behind integer[])
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp set lock_timeout = '10s' set plan_cache_mode = force_generic_plan set jit = off
set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off as $$
declare
  latest text;
  timeline text;
  head_id uuid;
  head_time timestamptz;
  added integer;
  refused integer[];
  standing integer[];
begin
  if current_setting('transaction_isolation') <> 'read committed' then
    raise exception using errcode = '55000', message = 'events are appended in READ COMMITTED only, not in ' || upper(current_setting('transaction_isolation')),
      hint = 'A snapshot that is older than the lock on the log does not see what was appended before.';
  end if;
  if current_setting('synchronous_commit') = 'off' then
    raise exception using errcode = '55000', message = 'events are not appended with synchronous_commit = off',
      hint = 'A crash would lose acknowledged events and give their positions to others. Set synchronous_commit = on for this role.';
  end if;

  perform pg_advisory_xact_lock(:lock_class + 4, 0);

  if believed is not null then
    select left(replace(g.id::text, '-', ''), 12), g.identity ->> 'timeline' into latest, timeline
    from :schema.generation g order by g.created_at desc limit 1;
    if latest is distinct from believed or timeline <> substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8) then
      outcome := 'other_generation';
      return;
    end if;
  end if;
  if exists (select from :schema.fence f where f.call = append.call) then
    outcome := 'fenced';
    return;
  end if;
  select e.position, e.id, e.time into head, head_id, head_time from :schema.event e order by e.position desc limit 1;
  head := coalesce(head, 0);
  outcome := 'judged';
  verdicts := array_fill(0, array[request_count]);
  versions := array(select coalesce((select e.version from :schema.event e where e.stream = s.name order by e.version desc limit 1), 0)
                    from unnest(stream_name) s(name));

  refused := array(select t.request from unnest(stream_request, stream_expected, versions) t(request, expected, actual)
                   where case t.expected when -2 then false when -1 then t.actual = 0 else t.actual <> t.expected end);
  for i in 1 .. cardinality(refused) loop verdicts[refused[i]] := 1; end loop;
  if key_request is not null then
    refused := array(select k.request from unnest(key_request, key_name, key_text, key_hash) k(request, name, key, hash)
                     where exists (select from :schema.command c where c.name = k.name and c.key = k.key
                                   and (c.state <> 'abandoned' or c.input_hash <> k.hash)));
    for i in 1 .. cardinality(refused) loop verdicts[refused[i]] := 3; end loop;
  end if;
  if cardinality(kept) > 0 then
    -- Checkpoints at the head are held there; those behind it are not waited for.
    standing := array(
      select c.projection from :schema.checkpoint c join :schema.projection p on p.id = c.projection
      where c.projection = any (kept) and c.first = 0 and c.last = 63 and c.position = head and c.event_id is not distinct from head_id
        and p.state in ('building', 'live', 'previous')
      for update of c);
    behind := array(select k from unnest(kept) k where k <> all (standing));
    if row_request is not null and cardinality(standing) > 0 then
      refused := :schema.changed_bases(standing, row_request, row_projection, row_key, row_was);
      for i in 1 .. cardinality(refused) loop
        if verdicts[refused[i]] = 0 then verdicts[refused[i]] := 2; end if;
      end loop;
      if need_request is not null then
        -- The needs of a request name everything it stands on, so one look is enough.
        refused := array(select n.request from unnest(need_request, need_on) n(request, need) where verdicts[n.need] <> 0 and verdicts[n.request] = 0);
        for i in 1 .. cardinality(refused) loop verdicts[refused[i]] := 2; end loop;
      end if;
    end if;
  end if;

  if 0 <> all (verdicts) then return; end if;
  head_time := greatest(clock_timestamp(), head_time);
  insert into :schema.event (position, stream, version, id, type, schema_version, data, metadata, time)
  select head + row_number() over (order by e.n), e.stream, versions[e.entry] + e.place, e.id, e.type, e.schema_version, e.data, e.metadata,
    head_time
  from unnest(event_entry, event_offset, event_stream, event_id, event_type, event_schema, event_data, event_metadata)
    with ordinality e(entry, place, stream, id, type, schema_version, data, metadata, n)
  where verdicts[stream_request[e.entry]] = 0;
  get diagnostics added = row_count;
  if key_request is not null then
    perform :schema.record_keys(verdicts, key_request, key_name, key_text, key_hash, key_state, key_result, key_code);
  end if;
  if added > 0 and cardinality(standing) > 0 then
    if row_request is not null then
      perform :schema.write_rows(standing, head, verdicts, request_events, row_request, row_projection, row_key, row_event, row_version, row_json, row_texts);
    end if;
    update :schema.checkpoint c set position = e.position, event_id = e.id
    from :schema.event e where e.position = head + added and c.projection = any (standing);
  end if;
  xid := pg_current_xact_id()::text;
end $$;

-- Requests with a row that is not the one they started from any more.
create function :schema.changed_bases(standing integer[], row_request integer[], row_projection integer[], row_key text[], row_was bigint[]) returns integer[]
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp set jit = off set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off as $$
declare
  p record;
  these integer[];
  changed integer[] := '{}';
begin
  for p in select x.id, x.table_name from :schema.projection x where x.id = any (standing) and x.id = any (row_projection) loop
    execute format('select array(select w.request from unnest($2, $3, $4, $5) w(request, projection, key, was)
      where w.projection = $1 and w.was <> coalesce((select t.position from %I.%I t where t.key = w.key), 0)
        and not exists (select from :schema.parked_key k where k.projection = $1 and k.key = w.key))', ':schema_name', p.table_name)
    into these using p.id, row_request, row_projection, row_key, row_was;
    changed := changed || these;
  end loop;
  return changed;
end $$;

-- Writes for each key of each projection the row of the last accepted request. Its version, if it has one, is that of its event, which the
-- client may not have known. The row of a parked key stays as it is: events of that key wait behind the one that failed.
create function :schema.write_rows(standing integer[], head bigint, verdicts integer[], request_events integer[], row_request integer[],
  row_projection integer[], row_key text[], row_event integer[], row_version integer[], row_json text[], row_texts text[]) returns void
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp set jit = off set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off as $$
declare
  p record;
  starts bigint[] := array_fill(head, array[cardinality(verdicts)]);
  reached bigint := head;
begin
  for i in 1 .. cardinality(verdicts) loop
    starts[i] := reached;
    if verdicts[i] = 0 then reached := reached + request_events[i]; end if;
  end loop;
  for p in select x.id, x.table_name from :schema.projection x where x.id = any (standing) and x.id = any (row_projection) loop
    execute format('with wanted as (
        select distinct on (w.key) w.key, $3[w.request] + w.event + 1 as position, w.version, w.row, w.texts
        from unnest($4, $5, $6, $7, $8, $9, $10) w(request, projection, key, event, version, row, texts)
        where w.projection = $1 and $2[w.request] = 0
          and not exists (select from :schema.parked_key k where k.projection = $1 and k.key = w.key)
        order by w.key, w.request desc),
      gone as (delete from %1$I.%2$I t using wanted w where w.row is null and t.key = w.key)
      insert into %1$I.%2$I as t (key, row, position, version, texts)
      select w.key, w.row::jsonb, w.position,
        case when w.version is not null then (select e.version from :schema.event e where e.position = w.position) end, w.texts::text[]
      from wanted w where w.row is not null
      on conflict (key) do update set row = excluded.row, position = excluded.position, version = excluded.version, texts = excluded.texts',
      ':schema_name', p.table_name)
    using p.id, verdicts, starts, row_request, row_projection, row_key, row_event, row_version, row_json, row_texts;
  end loop;
end $$;

-- Records the keys of accepted requests. All that was recorded under the log's lock is seen here; a key that is taken nevertheless was taken by a
-- command over tables of the same name, and the group has to be judged again.
create function :schema.record_keys(verdicts integer[], key_request integer[], key_name text[], key_text text[], key_hash text[], key_state text[],
  key_result text[], key_code text[]) returns void
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp set plan_cache_mode = force_generic_plan set jit = off set enable_seqscan = off as $$
declare
  recorded integer;
begin
  insert into :schema.command as c (name, key, input_hash, state, result, code)
  select k.name, k.key, k.hash, k.state, k.result::jsonb, k.code
  from unnest(key_request, key_name, key_text, key_hash, key_state, key_result, key_code) k(request, name, key, hash, state, result, code)
  where verdicts[k.request] = 0
  on conflict (name, key) do update set state = excluded.state, result = excluded.result, code = excluded.code, fan_out = false,
    xid = pg_current_xact_id(), created_at = clock_timestamp()
  where c.state = 'abandoned' and c.input_hash = excluded.input_hash;
  get diagnostics recorded = row_count;
  if recorded <> (select count(*) from unnest(key_request) k(request) where verdicts[k.request] = 0) then
    raise exception using errcode = '40001', message = 'an idempotency key was taken while events were appended';
  end if;
end $$;

-- Settles a call of 'append' whose answer was lost: from here on it cannot take effect any more, and it is told what it did. Looking alone would not
-- do: the call may still be on its way, or wait for the lock. streams, ids: of each stream the last event that was to be appended; null for none.
-- positions: where it stands, null where it does not; versions: of the event, else of the stream.
create function :schema.settle_append(call uuid, streams text[], ids uuid[], out xid text, out positions bigint[], out versions integer[])
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp set lock_timeout = '10s' set jit = off set enable_seqscan = off as $$
declare
  ours bigint;
begin
  perform pg_advisory_xact_lock(:lock_class + 4, 0);
  delete from :schema.fence f where f.at < clock_timestamp() - interval '7 days';
  insert into :schema.fence (call) values (settle_append.call) on conflict do nothing;
  positions := array(select (select e.position from :schema.event e where e.stream = s.name and e.id = s.id order by e.version desc limit 1)
                     from unnest(streams, ids) s(name, id));
  versions := array(select coalesce(
                      (select e.version from :schema.event e where e.stream = s.name and e.id = s.id order by e.version desc limit 1),
                      (select e.version from :schema.event e where e.stream = s.name order by e.version desc limit 1), 0)
                    from unnest(streams, ids) s(name, id));
  select e.xmin::text::bigint into ours from :schema.event e where e.position = any (positions) limit 1;
  -- The column has the lower half of the id; the upper one is that of now, or one less.
  ours := ours + ((pg_current_xact_id()::text::bigint >> 32) << 32);
  if ours > pg_current_xact_id()::text::bigint then ours := ours - (1::bigint << 32); end if;
  xid := ours::text;
end $$;

-- Streams from a version on, as one answer. 'entry' is the place in the call; a stream that has nothing to give has one row with its version alone.
-- Not whole: without what no state is made of.
create function :schema.load_streams(names text[], after integer[], at_most integer, whole boolean)
returns table (entry integer, version integer, "position" bigint, id uuid, type text, schema_version smallint, data json, metadata json, "time" timestamptz)
language plpgsql stable security definer
set search_path = pg_catalog, pg_temp set plan_cache_mode = force_generic_plan set jit = off
set enable_seqscan = off set enable_bitmapscan = off set enable_hashjoin = off set enable_mergejoin = off as $$
begin
  return query
  select s.n::integer,
    coalesce(e.version, case when s.after > 0 then (select l.version from :schema.event l where l.stream = s.name order by l.version desc limit 1) end, 0),
    e.position, case when whole then e.id end, e.type, e.schema_version, e.data, case when whole then e.metadata end,
    case when whole then e.time end
  from unnest(names, after) with ordinality s(name, after, n)
  left join lateral (
    select l.version, l.position, l.id, l.type, l.schema_version, l.data, l.metadata, l.time from :schema.event l
    where l.stream = s.name and l.version > s.after order by l.version limit at_most) e on true
  order by s.n, e.version;
end $$;

-- What a command over tables emits: appended at its COMMIT, by a deferred trigger, so that no message of the client lies inside the log's lock.
-- The outcome stays in the row until the client takes it. Not logged: the row is worth nothing once the server has crashed.
create unlogged table :schema.staged (
  id uuid primary key,
  believed text,
  request_events integer[], stream_request integer[], stream_name text[], stream_expected integer[],
  event_entry integer[], event_offset integer[], event_stream text[], event_id uuid[], event_type text[], event_schema smallint[],
  event_data json[], event_metadata json[],
  kept integer[],
  row_request integer[], row_projection integer[], row_key text[], row_was bigint[], row_event integer[], row_version integer[], row_json text[],
  row_texts text[],
  at timestamptz not null default pg_catalog.clock_timestamp(),
  xid text, head bigint, versions integer[], behind integer[]
);

-- First everything else that waits for the COMMIT, sync views and the application's own triggers, so that their locks come before the log's.
-- Neither 'security definer' nor a search_path: the application's triggers run in here.
create function :schema.settle_constraints() returns trigger language plpgsql as $$
begin
  set constraints all immediate;
  return null;
end $$;

create function :schema.append_staged() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  told record;
begin
  select * into told from :schema.append(new.id, new.believed, 1, new.request_events, new.stream_request, new.stream_name, new.stream_expected,
    new.event_entry, new.event_offset, new.event_stream, new.event_id, new.event_type, new.event_schema, new.event_data, new.event_metadata,
    null, null, null, null, null, null, null,
    new.kept, new.row_request, new.row_projection, new.row_key, new.row_was, new.row_event, new.row_version, new.row_json, new.row_texts, null, null);
  if told.outcome <> 'judged' or told.verdicts[1] <> 0 then
    raise exception using errcode = '40001', message = 'the events that a command emitted could not be appended: '
      || case when told.outcome <> 'judged' then 'the database is not the one it was' when told.verdicts[1] = 1 then 'a stream is not at the version that was expected'
         else 'a row of a sync projection has changed' end;
  end if;
  update :schema.staged s set xid = told.xid, head = told.head, versions = told.versions, behind = told.behind,
    event_data = null, event_metadata = null, row_json = null where s.id = new.id;
  return null;
end $$;

-- Triggers of one row fire in the order of their names.
create constraint trigger append_1_settle after insert on :schema.staged deferrable initially deferred
for each row execute function :schema.settle_constraints();
create constraint trigger append_2_append after insert on :schema.staged deferrable initially deferred
for each row execute function :schema.append_staged();
`
