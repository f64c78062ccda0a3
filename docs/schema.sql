-- The PostgreSQL schema that Headwater keeps for itself. Made by "npm run schema:dump" on PostgreSQL 15; do not edit.

--
-- PostgreSQL database dump
--

--
-- Name: headwater; Type: SCHEMA; Schema: -; Owner: -
--

CREATE SCHEMA headwater;

--
-- Name: append(uuid, text, integer, integer[], integer[], text[], integer[], integer[], integer[], text[], uuid[], text[], smallint[], json[], json[], integer[], text[], text[], text[], text[], text[], text[], integer[], integer[], integer[], text[], bigint[], integer[], integer[], text[], text[], integer[], integer[]); Type: FUNCTION; Schema: headwater; Owner: -
--

CREATE FUNCTION headwater.append(call uuid, believed text, request_count integer, request_events integer[], stream_request integer[], stream_name text[], stream_expected integer[], event_entry integer[], event_offset integer[], event_stream text[], event_id uuid[], event_type text[], event_schema smallint[], event_data json[], event_metadata json[], key_request integer[], key_name text[], key_text text[], key_hash text[], key_state text[], key_result text[], key_code text[], kept integer[], row_request integer[], row_projection integer[], row_key text[], row_was bigint[], row_event integer[], row_version integer[], row_json text[], row_texts text[], need_request integer[], need_on integer[], OUT outcome text, OUT xid text, OUT head bigint, OUT verdicts integer[], OUT versions integer[], OUT behind integer[]) RETURNS record
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET lock_timeout TO '10s'
    SET plan_cache_mode TO 'force_generic_plan'
    SET jit TO 'off'
    SET enable_seqscan TO 'off'
    SET enable_hashjoin TO 'off'
    SET enable_mergejoin TO 'off'
    AS $$
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

  perform pg_advisory_xact_lock(-521398562 + 4, 0);

  if believed is not null then
    select left(replace(g.id::text, '-', ''), 12), g.identity ->> 'timeline' into latest, timeline
    from "headwater".generation g order by g.created_at desc limit 1;
    if latest is distinct from believed or timeline <> substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8) then
      outcome := 'other_generation';
      return;
    end if;
  end if;
  if exists (select from "headwater".fence f where f.call = append.call) then
    outcome := 'fenced';
    return;
  end if;
  select e.position, e.id, e.time into head, head_id, head_time from "headwater".event e order by e.position desc limit 1;
  head := coalesce(head, 0);
  outcome := 'judged';
  verdicts := array_fill(0, array[request_count]);
  versions := array(select coalesce((select e.version from "headwater".event e where e.stream = s.name order by e.version desc limit 1), 0)
                    from unnest(stream_name) s(name));

  refused := array(select t.request from unnest(stream_request, stream_expected, versions) t(request, expected, actual)
                   where case t.expected when -2 then false when -1 then t.actual = 0 else t.actual <> t.expected end);
  for i in 1 .. cardinality(refused) loop verdicts[refused[i]] := 1; end loop;
  if key_request is not null then
    refused := array(select k.request from unnest(key_request, key_name, key_text, key_hash) k(request, name, key, hash)
                     where exists (select from "headwater".command c where c.name = k.name and c.key = k.key
                                   and (c.state <> 'abandoned' or c.input_hash <> k.hash)));
    for i in 1 .. cardinality(refused) loop verdicts[refused[i]] := 3; end loop;
  end if;
  if cardinality(kept) > 0 then
    -- Checkpoints at the head are held there; those behind it are not waited for.
    standing := array(
      select c.projection from "headwater".checkpoint c join "headwater".projection p on p.id = c.projection
      where c.projection = any (kept) and c.first = 0 and c.last = 63 and c.position = head and c.event_id is not distinct from head_id
        and p.state in ('building', 'live', 'previous')
      for update of c);
    behind := array(select k from unnest(kept) k where k <> all (standing));
    if row_request is not null and cardinality(standing) > 0 then
      refused := "headwater".changed_bases(standing, row_request, row_projection, row_key, row_was);
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
  insert into "headwater".event (position, stream, version, id, type, schema_version, data, metadata, time)
  select head + row_number() over (order by e.n), e.stream, versions[e.entry] + e.place, e.id, e.type, e.schema_version, e.data, e.metadata,
    head_time
  from unnest(event_entry, event_offset, event_stream, event_id, event_type, event_schema, event_data, event_metadata)
    with ordinality e(entry, place, stream, id, type, schema_version, data, metadata, n)
  where verdicts[stream_request[e.entry]] = 0;
  get diagnostics added = row_count;
  if key_request is not null then
    perform "headwater".record_keys(verdicts, key_request, key_name, key_text, key_hash, key_state, key_result, key_code);
  end if;
  if added > 0 and cardinality(standing) > 0 then
    if row_request is not null then
      perform "headwater".write_rows(standing, head, verdicts, request_events, row_request, row_projection, row_key, row_event, row_version, row_json, row_texts);
    end if;
    update "headwater".checkpoint c set position = e.position, event_id = e.id
    from "headwater".event e where e.position = head + added and c.projection = any (standing);
  end if;
  xid := pg_current_xact_id()::text;
end $$;

--
-- Name: append_staged(); Type: FUNCTION; Schema: headwater; Owner: -
--

CREATE FUNCTION headwater.append_staged() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
  told record;
begin
  select * into told from "headwater".append(new.id, new.believed, 1, new.request_events, new.stream_request, new.stream_name, new.stream_expected,
    new.event_entry, new.event_offset, new.event_stream, new.event_id, new.event_type, new.event_schema, new.event_data, new.event_metadata,
    null, null, null, null, null, null, null,
    new.kept, new.row_request, new.row_projection, new.row_key, new.row_was, new.row_event, new.row_version, new.row_json, new.row_texts, null, null);
  if told.outcome <> 'judged' or told.verdicts[1] <> 0 then
    raise exception using errcode = '40001', message = 'the events that a command emitted could not be appended: '
      || case when told.outcome <> 'judged' then 'the database is not the one it was' when told.verdicts[1] = 1 then 'a stream is not at the version that was expected'
         else 'a row of a sync projection has changed' end;
  end if;
  update "headwater".staged s set xid = told.xid, head = told.head, versions = told.versions, behind = told.behind,
    event_data = null, event_metadata = null, row_json = null where s.id = new.id;
  return null;
end $$;

--
-- Name: apply(integer, boolean, xid8); Type: FUNCTION; Schema: headwater; Owner: -
--

CREATE FUNCTION headwater.apply(view_id integer, echo boolean, origin xid8) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET row_security TO 'off'
    SET "TimeZone" TO 'UTC'
    SET "DateStyle" TO 'ISO, MDY'
    SET "IntervalStyle" TO 'postgres'
    SET extra_float_digits TO '1'
    SET bytea_output TO 'hex'
    SET jit TO 'off'
    SET enable_seqscan TO 'off'
    SET plan_cache_mode TO 'force_generic_plan'
    AS $$
declare
  gathered text[];
  more text[];
  applied tid[];
  m record;
  as_of pg_snapshot;
begin
  select array_agg(c.k), array_agg(distinct c.id) into gathered, applied
  from (select t.id, unnest(t.keys) k from "headwater".marks_of(view_id, origin) t where t.map = 0 and t.snapshot is null limit 1001) c;
  if cardinality(gathered) > 1000 then return; end if;
  if echo then
    for m in
      select c.id, c.keys, p.expand_sql from "headwater".marks_of(view_id, origin) c join "headwater".map p on p.view = view_id and p.number = c.map
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
    as_of := ("headwater".recompute(view_id, array(select distinct k from unnest(gathered) k))).seen;
  end if;
  if echo then
    update "headwater".mark c set snapshot = as_of where c.ctid = any (applied);
  else
    delete from "headwater".mark c where c.ctid = any (applied);
  end if;
end $$;

--
-- Name: apply_sync(); Type: FUNCTION; Schema: headwater; Owner: -
--

CREATE FUNCTION headwater.apply_sync() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET enable_seqscan TO 'off'
    SET plan_cache_mode TO 'force_generic_plan'
    AS $$
declare
  v record;
begin
  delete from "headwater".due d where d.xid = new.xid;
  if current_setting('transaction_isolation') <> 'read committed' then return null; end if;
  for v in
    select w.id, w.echo from "headwater".view w
    where w.mode = 'sync' and w.state in ('building', 'live', 'previous')
      and exists (select from "headwater".marks_of(w.id, new.xid) m where m.snapshot is null)
    order by w.id
  loop
    begin
      perform "headwater".apply(v.id, v.echo, new.xid);
    exception when others then
      insert into "headwater".complaint (view, message) values (v.id, sqlerrm);
    end;
  end loop;
  return null;
end $$;

--
-- Name: changed_bases(integer[], integer[], integer[], text[], bigint[]); Type: FUNCTION; Schema: headwater; Owner: -
--

CREATE FUNCTION headwater.changed_bases(standing integer[], row_request integer[], row_projection integer[], row_key text[], row_was bigint[]) RETURNS integer[]
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET jit TO 'off'
    SET enable_seqscan TO 'off'
    SET enable_hashjoin TO 'off'
    SET enable_mergejoin TO 'off'
    AS $_$
declare
  p record;
  these integer[];
  changed integer[] := '{}';
begin
  for p in select x.id, x.table_name from "headwater".projection x where x.id = any (standing) and x.id = any (row_projection) loop
    execute format('select array(select w.request from unnest($2, $3, $4, $5) w(request, projection, key, was)
      where w.projection = $1 and w.was <> coalesce((select t.position from %I.%I t where t.key = w.key), 0)
        and not exists (select from "headwater".parked_key k where k.projection = $1 and k.key = w.key))', 'headwater', p.table_name)
    into these using p.id, row_request, row_projection, row_key, row_was;
    changed := changed || these;
  end loop;
  return changed;
end $_$;

--
-- Name: compare(integer, text[], text, text); Type: FUNCTION; Schema: headwater; Owner: -
--

CREATE FUNCTION headwater.compare(view_id integer, sample text[], lo text, hi text, OUT checked bigint, OUT keys text[], OUT kinds text[], OUT waiting boolean[]) RETURNS record
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET row_security TO 'off'
    SET "TimeZone" TO 'UTC'
    SET "DateStyle" TO 'ISO, MDY'
    SET "IntervalStyle" TO 'postgres'
    SET extra_float_digits TO '1'
    SET bytea_output TO 'hex'
    SET default_text_search_config TO 'pg_catalog.english'
    SET jit TO 'off'
    AS $$
declare
  v "headwater".view;
begin
  select * into strict v from "headwater".view w where w.id = view_id;
  if sample is not null then
    execute v.difference_sql into checked, keys, kinds, waiting using sample, view_id;
  else
    execute v.range_sql into checked, keys, kinds, waiting using lo, hi, view_id;
  end if;
end $$;

--
-- Name: drain(integer, boolean, xid8); Type: FUNCTION; Schema: headwater; Owner: -
--

CREATE FUNCTION headwater.drain(view_id integer, bulk_first boolean, since xid8, OUT claimed integer, OUT keys integer, OUT written integer, OUT deleted integer, OUT parked integer, OUT horizon xid8) RETURNS record
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
  m "headwater".mark;
  gathered text[] := '{}';
  origins xid8[] := '{}';
  done record;
  bulk boolean;
begin
  claimed := 0; keys := 0; written := 0; deleted := 0; parked := 0;
  if not exists (select from "headwater".view w where w.id = view_id and w.state in ('building', 'live', 'previous'))
    or not pg_try_advisory_xact_lock_shared(-521398561, view_id) then return; end if;
  horizon := pg_snapshot_xmin(pg_current_snapshot());
  foreach bulk in array array[bulk_first, not bulk_first] loop
    -- Bulk is one worker's at a time: it is no faster by more, and single keys are not held up by all of them.
    continue when bulk and not pg_try_advisory_xact_lock(-521398562 + 3, view_id);
    for m in
      delete from "headwater".mark where ctid = any (case when bulk
        then array(select k.ctid from "headwater".mark k where k.view = view_id and k.lane > 0 order by k.lane, k.xid limit 2 for update skip locked)
        else array(select k.ctid from "headwater".mark k where k.view = view_id and k.lane = 0 and k.xid >= coalesce(since, '0'::xid8)
                   order by k.xid limit 1000 for update skip locked) end)
      returning *
    loop
      claimed := claimed + 1;
      if m.map = -2 then
        raise exception using errcode = 'HW002', message = m.keys[1];
      end if;
      gathered := gathered || "headwater".expand(m);
      origins := origins || m.xid;
    end loop;
    exit when claimed > 0;
  end loop;
  select array_agg(distinct k) into gathered from unnest(gathered) k;
  if gathered is null then return; end if;
  keys := cardinality(gathered);
  done := "headwater".refresh(view_id, gathered, origins);
  written := done.written; deleted := done.deleted; parked := done.parked;
  if parked >= 20 and parked = keys then
    raise exception using errcode = 'HW001', message = 'every one of ' || keys || ' keys failed: '
      || (select p.reason from "headwater".parked p where p.view = view_id and p.key = gathered[1]);
  end if;
end $$;

--
-- Name: enqueue(integer); Type: FUNCTION; Schema: headwater; Owner: -
--

CREATE FUNCTION headwater.enqueue(view_id integer) RETURNS bigint
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET row_security TO 'off'
    SET "TimeZone" TO 'UTC'
    SET "DateStyle" TO 'ISO, MDY'
    SET "IntervalStyle" TO 'postgres'
    SET extra_float_digits TO '1'
    SET bytea_output TO 'hex'
    SET default_text_search_config TO 'pg_catalog.english'
    AS $$
declare
  v "headwater".view;
  total bigint;
begin
  select * into strict v from "headwater".view w where w.id = view_id;
  delete from "headwater".mark m where m.view = view_id and m.lane = 2;
  if v.store is not null then
    -- Which keys the store has only a worker can tell.
    insert into "headwater".mark (view, lane, map, keys) values (view_id, 2, -1, '{}');
    update "headwater".view w set keys_total = null, build_started_at = clock_timestamp() where w.id = view_id;
    return 0;
  end if;
  execute v.enqueue_sql using v.id, 2, pg_current_xact_id();
  select coalesce(sum(cardinality(m.keys)), 0) into total from "headwater".mark m where m.view = view_id and m.lane = 2;
  update "headwater".view w set keys_total = total, build_started_at = clock_timestamp() where w.id = view_id;
  return total;
end $$;

--
-- Name: mark; Type: TABLE; Schema: headwater; Owner: -
--

CREATE TABLE headwater.mark (
    view integer NOT NULL,
    lane smallint NOT NULL,
    xid xid8 DEFAULT pg_current_xact_id() NOT NULL,
    map smallint NOT NULL,
    keys text[] NOT NULL,
    cursor text,
    snapshot pg_snapshot,
    at timestamp with time zone DEFAULT clock_timestamp() NOT NULL
)
WITH (autovacuum_vacuum_scale_factor='0', autovacuum_vacuum_threshold='5000', autovacuum_vacuum_cost_delay='0');

--
-- Name: expand(headwater.mark); Type: FUNCTION; Schema: headwater; Owner: -
--

CREATE FUNCTION headwater.expand(m headwater.mark) RETURNS text[]
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET row_security TO 'off'
    SET "TimeZone" TO 'UTC'
    SET "DateStyle" TO 'ISO, MDY'
    SET "IntervalStyle" TO 'postgres'
    SET extra_float_digits TO '1'
    SET bytea_output TO 'hex'
    SET jit TO 'off'
    AS $$
declare
  found_keys text[];
  expansion text;
begin
  if m.map = 0 then
    if cardinality(m.keys) <= 1000 then return m.keys; end if;
    perform "headwater".split(m.view, 1, m.xid, m.keys);
    return '{}';
  end if;
  if m.map = -1 then
    execute (select w.enqueue_sql from "headwater".view w where w.id = m.view) using m.view, 1, m.xid;
    return '{}';
  end if;
  select p.expand_sql into strict expansion from "headwater".map p where p.view = m.view and p.number = m.map;
  execute expansion into found_keys using m.keys, m.cursor, 5001;
  if found_keys is null then return '{}'; end if;
  if m.cursor is null and cardinality(found_keys) <= 500 then return found_keys; end if;
  perform "headwater".split(m.view, 1, m.xid, found_keys[1:5000]);
  if cardinality(found_keys) > 5000 then
    insert into "headwater".mark (view, lane, xid, map, keys, cursor) values (m.view, 1, m.xid, m.map, m.keys, found_keys[5000]);
  end if;
  return '{}';
end $$;

--
-- Name: load_streams(text[], integer[], integer, boolean); Type: FUNCTION; Schema: headwater; Owner: -
--

CREATE FUNCTION headwater.load_streams(names text[], after integer[], at_most integer, whole boolean) RETURNS TABLE(entry integer, version integer, "position" bigint, id uuid, type text, schema_version smallint, data json, metadata json, "time" timestamp with time zone)
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET plan_cache_mode TO 'force_generic_plan'
    SET jit TO 'off'
    SET enable_seqscan TO 'off'
    SET enable_bitmapscan TO 'off'
    SET enable_hashjoin TO 'off'
    SET enable_mergejoin TO 'off'
    AS $$
begin
  return query
  select s.n::integer,
    coalesce(e.version, case when s.after > 0 then (select l.version from "headwater".event l where l.stream = s.name order by l.version desc limit 1) end, 0),
    e.position, case when whole then e.id end, e.type, e.schema_version, e.data, case when whole then e.metadata end,
    case when whole then e.time end
  from unnest(names, after) with ordinality s(name, after, n)
  left join lateral (
    select l.version, l.position, l.id, l.type, l.schema_version, l.data, l.metadata, l.time from "headwater".event l
    where l.stream = s.name and l.version > s.after order by l.version limit at_most) e on true
  order by s.n, e.version;
end $$;

--
-- Name: marks_of(integer, xid8); Type: FUNCTION; Schema: headwater; Owner: -
--

CREATE FUNCTION headwater.marks_of(view_id integer, origin xid8) RETURNS TABLE(id tid, map smallint, keys text[], snapshot pg_snapshot)
    LANGUAGE sql STABLE
    AS $$
  select m.ctid, m.map, m.keys, m.snapshot from "headwater".mark m where m.view = view_id and m.lane = 0 and m.xid = origin
  union all
  select m.ctid, m.map, m.keys, m.snapshot from "headwater".mark m where m.view = view_id and m.lane = 1 and m.xid = origin
$$;

--
-- Name: outstanding(integer[], xid8[], boolean[], xid8); Type: FUNCTION; Schema: headwater; Owner: -
--

CREATE FUNCTION headwater.outstanding(views integer[], writes xid8[], fans boolean[], up_to xid8) RETURNS TABLE(view integer, state text, lacking integer, parked boolean, ahead boolean)
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET jit TO 'off'
    SET enable_seqscan TO 'off'
    SET plan_cache_mode TO 'force_generic_plan'
    AS $$
#variable_conflict use_column
begin
  return query
  select v.id, v.state,
    (select count(*) from unnest(writes, fans) t(xid, fan)
     where exists (select from "headwater".marks_of(v.id, t.xid) m where m.snapshot is null or m.map <> 0)
        or (t.fan and exists (select from "headwater".mark m where m.view = v.id and m.snapshot is not null and not pg_visible_in_snapshot(t.xid, m.snapshot))))::integer
    + (case when up_to is not null and (
        exists (select from "headwater".mark m where m.view = v.id and m.lane = 0 and m.xid <= up_to and (m.snapshot is null or m.map <> 0))
        or exists (select from "headwater".mark m where m.view = v.id and m.lane = 1 and m.xid <= up_to and (m.snapshot is null or m.map <> 0)))
       then 1 else 0 end),
    exists (select from "headwater".parked p where p.view = v.id and p.xids && writes),
    exists (select from unnest(writes) t(xid) where t.xid >= pg_snapshot_xmax(pg_current_snapshot()))
  from "headwater".view v where v.id = any (views);
end $$;

--
-- Name: pending(); Type: FUNCTION; Schema: headwater; Owner: -
--

CREATE FUNCTION headwater.pending() RETURNS TABLE(view integer, lag_ms double precision, waiting boolean)
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET jit TO 'off'
    SET enable_seqscan TO 'off'
    SET plan_cache_mode TO 'force_generic_plan'
    AS $$
#variable_conflict use_column
begin
  return query
  select v.id,
    greatest(0, extract(epoch from clock_timestamp() - least(
      (select m.at from "headwater".mark m where m.view = v.id and m.lane = 0 and m.snapshot is null order by m.xid limit 1),
      (select m.at from "headwater".mark m where m.view = v.id and m.lane = 1 and m.snapshot is null order by m.xid limit 1))) * 1000)::double precision,
    exists (select from "headwater".mark m where m.view = v.id)
  from "headwater".view v where v.state in ('building', 'live', 'previous');
end $$;

--
-- Name: publish(text, text); Type: FUNCTION; Schema: headwater; Owner: -
--

CREATE FUNCTION headwater.publish(model text, table_name text) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
  public_name text := format('%I.%I', 'headwater', model);
  grants text[];
  statement text;
begin
  select array_agg(format('grant %s on %s to %s%s', a.privilege_type, public_name,
    case when a.grantee = 0 then 'public' else quote_ident(r.rolname) end, case when a.is_grantable then ' with grant option' else '' end))
  into grants
  from pg_class c cross join aclexplode(c.relacl) a left join pg_roles r on r.oid = a.grantee
  where c.oid = to_regclass(public_name) and a.grantee <> c.relowner;
  execute format('drop view if exists %s', public_name);
  execute format('create view %s as select * from %I.%I', public_name, 'headwater', table_name);
  foreach statement in array coalesce(grants, '{}') loop
    execute statement;
  end loop;
end $$;

--
-- Name: publish_as(text, text); Type: FUNCTION; Schema: headwater; Owner: -
--

CREATE FUNCTION headwater.publish_as(model text, query text) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
  public_name text := format('%I.%I', 'headwater', model);
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

--
-- Name: recompute(integer, text[]); Type: FUNCTION; Schema: headwater; Owner: -
--

CREATE FUNCTION headwater.recompute(view_id integer, keys text[], OUT seen pg_snapshot, OUT written integer, OUT deleted integer) RETURNS record
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET row_security TO 'off'
    SET "TimeZone" TO 'UTC'
    SET "DateStyle" TO 'ISO, MDY'
    SET "IntervalStyle" TO 'postgres'
    SET extra_float_digits TO '1'
    SET bytea_output TO 'hex'
    SET default_text_search_config TO 'pg_catalog.english'
    SET jit TO 'off'
    AS $_$
begin
  if cardinality(keys) <= 64 then
    execute 'select * from "headwater".recompute_' || view_id || '($1)' into seen, written, deleted using keys;
  else
    execute 'select "headwater".lock_' || view_id || '($1)' using keys;
    seen := pg_current_snapshot();
    execute (select w.refresh_sql from "headwater".view w where w.id = view_id) into written, deleted using keys;
  end if;
end $_$;

--
-- Name: record_keys(integer[], integer[], text[], text[], text[], text[], text[], text[]); Type: FUNCTION; Schema: headwater; Owner: -
--

CREATE FUNCTION headwater.record_keys(verdicts integer[], key_request integer[], key_name text[], key_text text[], key_hash text[], key_state text[], key_result text[], key_code text[]) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET plan_cache_mode TO 'force_generic_plan'
    SET jit TO 'off'
    SET enable_seqscan TO 'off'
    AS $$
declare
  recorded integer;
begin
  insert into "headwater".command as c (name, key, input_hash, state, result, code)
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

--
-- Name: refresh(integer, text[], xid8[]); Type: FUNCTION; Schema: headwater; Owner: -
--

CREATE FUNCTION headwater.refresh(view_id integer, keys text[], origins xid8[], OUT written integer, OUT deleted integer, OUT parked integer) RETURNS record
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
  state text;
  message text;
  half integer;
  a record;
  b record;
begin
  parked := 0;
  begin
    select r.written, r.deleted into written, deleted from "headwater".recompute(view_id, keys) r;
    if exists (select from "headwater".parked p where p.view = view_id) then
      delete from "headwater".parked p where p.view = view_id and p.key = any (keys);
    end if;
    return;
  exception when others then
    get stacked diagnostics state = returned_sqlstate, message = message_text;
    if state <> '54000' and left(state, 2) in ('08', '0A', '25', '26', '3D', '3F', '40', '42', '53', '54', '55', '57', '58', 'F0', 'XX') then
      raise;
    end if;
  end;
  if cardinality(keys) = 1 then
    insert into "headwater".parked as p (view, key, reason, sql_state, xids) values (view_id, keys[1], message, state, origins)
    on conflict (view, key) do update set reason = excluded.reason, sql_state = excluded.sql_state, xids = excluded.xids, parked_at = excluded.parked_at;
    written := 0; deleted := 0; parked := 1;
    return;
  end if;
  half := cardinality(keys) / 2;
  a := "headwater".refresh(view_id, keys[1:half], origins);
  b := "headwater".refresh(view_id, keys[half + 1:], origins);
  written := a.written + b.written; deleted := a.deleted + b.deleted; parked := a.parked + b.parked;
end $$;

--
-- Name: settle_append(uuid, text[], uuid[]); Type: FUNCTION; Schema: headwater; Owner: -
--

CREATE FUNCTION headwater.settle_append(call uuid, streams text[], ids uuid[], OUT xid text, OUT positions bigint[], OUT versions integer[]) RETURNS record
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET lock_timeout TO '10s'
    SET jit TO 'off'
    SET enable_seqscan TO 'off'
    AS $$
declare
  ours bigint;
begin
  perform pg_advisory_xact_lock(-521398562 + 4, 0);
  delete from "headwater".fence f where f.at < clock_timestamp() - interval '7 days';
  insert into "headwater".fence (call) values (settle_append.call) on conflict do nothing;
  positions := array(select (select e.position from "headwater".event e where e.stream = s.name and e.id = s.id order by e.version desc limit 1)
                     from unnest(streams, ids) s(name, id));
  versions := array(select coalesce(
                      (select e.version from "headwater".event e where e.stream = s.name and e.id = s.id order by e.version desc limit 1),
                      (select e.version from "headwater".event e where e.stream = s.name order by e.version desc limit 1), 0)
                    from unnest(streams, ids) s(name, id));
  select e.xmin::text::bigint into ours from "headwater".event e where e.position = any (positions) limit 1;
  -- The column has the lower half of the id; the upper one is that of now, or one less.
  ours := ours + ((pg_current_xact_id()::text::bigint >> 32) << 32);
  if ours > pg_current_xact_id()::text::bigint then ours := ours - (1::bigint << 32); end if;
  xid := ours::text;
end $$;

--
-- Name: settle_constraints(); Type: FUNCTION; Schema: headwater; Owner: -
--

CREATE FUNCTION headwater.settle_constraints() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
begin
  set constraints all immediate;
  return null;
end $$;

--
-- Name: split(integer, integer, xid8, text[]); Type: FUNCTION; Schema: headwater; Owner: -
--

CREATE FUNCTION headwater.split(view_id integer, lane integer, origin xid8, keys text[]) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
declare
  bucket text := case when exists (select from "headwater".view_store t where t.view = view_id) then '0' else '"headwater".bucket_' || view_id || '(k)' end;
begin
  execute 'insert into "headwater".mark (view, lane, xid, map, keys)
    select $1, $2, $3, 0, array_agg(k order by n)
    from (select k, row_number() over (order by ' || bucket || ', at) as n from unnest($4) with ordinality u(k, at)) s group by (n - 1) / 500'
  using view_id, lane, origin, keys;
end $_$;

--
-- Name: store_adopt(integer, bigint, text, bigint, text, boolean); Type: FUNCTION; Schema: headwater; Owner: -
--

CREATE FUNCTION headwater.store_adopt(view_id integer, at_reached bigint, at_id text, next_reached bigint, next_id text, is_filled boolean) RETURNS boolean
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
begin
  update "headwater".view_store t
  set reached = next_reached, batch_id = next_id, intended = '{}', filling = t.filling and not is_filled, owner = null
  where t.view = view_id and t.reached = at_reached and t.batch_id is not distinct from at_id and next_id = any (t.intended)
    and (t.owner is null or t.lease_until < clock_timestamp());
  return found;
end $$;

--
-- Name: store_adopt(integer, uuid, bigint, text, bigint, text, boolean); Type: FUNCTION; Schema: headwater; Owner: -
--

CREATE FUNCTION headwater.store_adopt(view_id integer, who uuid, at_reached bigint, at_id text, next_reached bigint, next_id text, is_filled boolean) RETURNS boolean
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
begin
  update "headwater".view_store t
  set reached = next_reached, batch_id = next_id, intended = '{}', filling = t.filling and not is_filled
  where t.view = view_id and t.reached = at_reached and t.batch_id is not distinct from at_id and next_id = any (t.intended)
    and (t.owner is null or t.owner = who or t.lease_until < clock_timestamp());
  return found;
end $$;

--
-- Name: store_claim(integer, uuid, boolean, xid8); Type: FUNCTION; Schema: headwater; Owner: -
--

CREATE FUNCTION headwater.store_claim(view_id integer, who uuid, bulk_first boolean, since xid8, OUT claimed integer, OUT busy boolean, OUT reached bigint, OUT batch_id text, OUT seed text, OUT filling boolean, OUT number bigint, OUT keys text[], OUT marks text, OUT origins text, OUT everything integer, OUT filled boolean, OUT horizon xid8) RETURNS record
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
  s "headwater".view_store;
  m record;
  gathered text[] := '{}';
  more text[];
  ids tid[] := '{}';
  xids xid8[] := '{}';
  bulk boolean;
begin
  claimed := 0; busy := true; filled := false; keys := '{}';
  if not exists (select from "headwater".view w where w.id = view_id and w.state in ('building', 'live', 'previous'))
    or not pg_try_advisory_xact_lock_shared(-521398561, view_id) then return; end if;
  horizon := pg_snapshot_xmin(pg_current_snapshot());
  select * into s from "headwater".view_store t where t.view = view_id for update skip locked;
  if not found or (s.owner <> who and s.lease_until > clock_timestamp()) then return; end if;
  busy := false; reached := s.reached; batch_id := s.batch_id; seed := s.seed; filling := s.filling;
  foreach bulk in array array[bulk_first, not bulk_first] loop
    for m in
      select k.ctid as id, k.lane, k.xid, k.map, k.keys, k as whole from "headwater".mark k where k.ctid = any (case when bulk
        then array(select b.ctid from "headwater".mark b where b.view = view_id and b.lane > 0 order by b.lane, b.xid limit 4)
        else array(select b.ctid from "headwater".mark b where b.view = view_id and b.lane = 0 and b.xid >= coalesce(since, '0'::xid8)
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
      more := "headwater".expand(m.whole);
      if cardinality(more) = 0 then
        -- It became other marks, or no key depends on it.
        delete from "headwater".mark k where k.ctid = m.id;
        continue;
      end if;
      gathered := gathered || more; ids := ids || m.id; xids := xids || m.xid;
      exit when cardinality(gathered) >= 1000;
    end loop;
    exit when claimed > 0;
  end loop;
  filled := s.filling and claimed = 0 and not exists (select from "headwater".mark k where k.view = view_id and k.lane = 2);
  if cardinality(ids) = 0 and not filled then return; end if;
  keys := array(select distinct k from unnest(gathered) k);
  marks := ids::text; origins := xids::text;
  number := nextval('"headwater".view_batch');
  update "headwater".view_store t set owner = who, lease_until = clock_timestamp() + interval '3 seconds' where t.view = view_id;
end $$;

--
-- Name: store_everything(integer, tid[], xid8[], integer); Type: FUNCTION; Schema: headwater; Owner: -
--

CREATE FUNCTION headwater.store_everything(view_id integer, marks tid[], origins xid8[], lane integer) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET row_security TO 'off'
    SET "TimeZone" TO 'UTC'
    SET "DateStyle" TO 'ISO, MDY'
    SET "IntervalStyle" TO 'postgres'
    SET extra_float_digits TO '1'
    SET bytea_output TO 'hex'
    SET default_text_search_config TO 'pg_catalog.english'
    SET jit TO 'off'
    AS $$
declare
  total bigint;
begin
  delete from "headwater".mark k where k.ctid = any (marks) and k.view = view_id and k.xid = any (origins) and k.map = -1;
  if not found then return; end if;
  execute (select w.enqueue_sql from "headwater".view w where w.id = view_id) using view_id, lane, origins[1];
  if lane = 2 then
    select coalesce(sum(cardinality(k.keys)), 0) into total from "headwater".mark k where k.view = view_id and k.lane = 2;
    update "headwater".view w set keys_total = total where w.id = view_id;
  end if;
end $$;

--
-- Name: store_intend(integer, uuid, bigint, text, text); Type: FUNCTION; Schema: headwater; Owner: -
--

CREATE FUNCTION headwater.store_intend(view_id integer, who uuid, at_reached bigint, at_id text, next_id text) RETURNS boolean
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
begin
  if current_setting('synchronous_commit') = 'off' then perform set_config('synchronous_commit', 'on', true); end if;
  update "headwater".view_store t
  set intended = t.intended || next_id, owner = who, lease_until = clock_timestamp() + interval '3 seconds'
  where t.view = view_id and t.reached = at_reached and t.batch_id is not distinct from at_id;
  return found;
end $$;

--
-- Name: store_refill(integer, bigint, text, text[]); Type: FUNCTION; Schema: headwater; Owner: -
--

CREATE FUNCTION headwater.store_refill(view_id integer, at_reached bigint, at_id text, at_intended text[]) RETURNS boolean
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
begin
  update "headwater".view_store t set batch_id = null, intended = '{}', filling = true, overwrite = false, owner = null
  where t.view = view_id and t.reached = at_reached and t.batch_id is not distinct from at_id and t.intended = at_intended;
  if not found then return false; end if;
  delete from "headwater".parked p where p.view = view_id;
  perform "headwater".enqueue(view_id);
  return true;
end $$;

--
-- Name: store_shares(uuid, integer[], integer[], boolean); Type: FUNCTION; Schema: headwater; Owner: -
--

CREATE FUNCTION headwater.store_shares(who uuid, able integer[], idle integer[], say boolean) RETURNS TABLE(view integer, mine boolean, free boolean, abandoned boolean, others integer[])
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
#variable_conflict use_column
begin
  if say then
    delete from "headwater".view_worker w where w.ctid = any (array(
      select d.ctid from "headwater".view_worker d where d.alive_until < clock_timestamp() - interval '1 minute' for update skip locked));
    insert into "headwater".view_worker as w (id, views, alive_until) values (who, able, clock_timestamp() + interval '3 seconds')
    on conflict (id) do update set views = excluded.views, alive_until = excluded.alive_until;
  end if;
  update "headwater".view_store t set lease_until = clock_timestamp() + interval '3 seconds'
  where t.owner = who and t.view = any (idle) and t.lease_until > clock_timestamp() and t.lease_until < clock_timestamp() + interval '2 seconds';
  return query
  with held as materialized (
    select w.id, w.views, (select count(*) from "headwater".view_store t where t.owner = w.id and t.lease_until > clock_timestamp())::integer as leases
    from "headwater".view_worker w where w.id <> who and w.alive_until > clock_timestamp())
  select t.view, coalesce(t.owner = who and t.lease_until > clock_timestamp(), false), t.owner is null or t.lease_until <= clock_timestamp(),
    coalesce(t.lease_until, '-infinity') < clock_timestamp() - interval '3 seconds',
    array(select h.leases from held h where t.view = any (h.views))
  from "headwater".view_store t join "headwater".view v on v.id = t.view
  where v.state in ('building', 'live', 'previous') order by t.view;
end $$;

--
-- Name: store_take(integer, uuid); Type: FUNCTION; Schema: headwater; Owner: -
--

CREATE FUNCTION headwater.store_take(view_id integer, who uuid) RETURNS boolean
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
begin
  update "headwater".view_store t set owner = who, lease_until = clock_timestamp() + interval '3 seconds'
  where t.view = view_id and (t.owner is null or t.owner = who or t.lease_until <= clock_timestamp());
  return found;
end $$;

--
-- Name: store_written(integer, bigint, text, bigint, text, boolean, tid[], xid8[], text[], text[], text[], text[]); Type: FUNCTION; Schema: headwater; Owner: -
--

CREATE FUNCTION headwater.store_written(view_id integer, at_reached bigint, at_id text, next_reached bigint, next_id text, is_filled boolean, marks tid[], origins xid8[], park text[], reasons text[], states text[], unpark text[]) RETURNS boolean
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
begin
  perform pg_advisory_xact_lock_shared(-521398561, view_id);
  update "headwater".view_store t
  set reached = next_reached, batch_id = next_id, intended = '{}', filling = t.filling and not is_filled, trouble = null
  where t.view = view_id and t.reached = at_reached and t.batch_id is not distinct from at_id and next_id = any (t.intended);
  if not found then return false; end if;
  -- A place may have been taken by another mark since; it is not of these transactions.
  delete from "headwater".mark k where k.ctid = any (marks) and k.view = view_id and k.xid = any (origins);
  if cardinality(unpark) > 0 then
    delete from "headwater".parked p where p.view = view_id and p.key = any (unpark);
  end if;
  insert into "headwater".parked as p (view, key, reason, sql_state, xids)
  select view_id, f.key, f.reason, f.state, store_written.origins from unnest(park, reasons, states) f(key, reason, state)
  on conflict (view, key) do update set reason = excluded.reason, sql_state = excluded.sql_state, xids = excluded.xids, parked_at = excluded.parked_at;
  return true;
end $$;

--
-- Name: switch(integer); Type: FUNCTION; Schema: headwater; Owner: -
--

CREATE FUNCTION headwater.switch(view_id integer) RETURNS boolean
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
  v "headwater".view;
  old integer;
  rounds integer := 0;
begin
  select * into strict v from "headwater".view w where w.id = view_id for update;
  if exists (select from "headwater".view_store t where t.view = view_id and t.filling) then return false; end if;
  select r.active into old from "headwater".read_model r where r.name = v.name for update;
  if old is distinct from view_id and old is not null then
    perform pg_advisory_xact_lock(-521398561, old);
  end if;
  while exists (select from "headwater".mark n where n.view = view_id and (n.lane = 2 or (old is not null and not exists
    (select from "headwater".marks_of(old, n.xid)))))
  loop
    rounds := rounds + 1;
    -- What is in another store only a worker can bring there.
    if rounds > 100 or v.store is not null then return false; end if;
    perform "headwater".drain(view_id, rounds % 2 = 0, null);
  end loop;
  update "headwater".view w set state = 'previous', retired_at = clock_timestamp() where w.name = v.name and w.id <> view_id and w.state = 'live';
  update "headwater".view w set state = 'live', retired_at = null, built_at = coalesce(w.built_at, clock_timestamp()) where w.id = view_id;
  update "headwater".read_model r set active = view_id where r.name = v.name;
  if v.store is null then
    perform "headwater".publish(v.name, v.table_name);
  else
    execute format('drop view if exists %I.%I', 'headwater', v.name);
  end if;
  return true;
end $$;

--
-- Name: unapplied(xid8[], boolean[]); Type: FUNCTION; Schema: headwater; Owner: -
--

CREATE FUNCTION headwater.unapplied(writes xid8[], fans boolean[]) RETURNS SETOF xid8
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET jit TO 'off'
    SET enable_seqscan TO 'off'
    SET plan_cache_mode TO 'force_generic_plan'
    AS $$
#variable_conflict use_column
begin
  return query
  select t.xid from unnest(writes, fans) t(xid, fan)
  where exists (select from "headwater".view v where
      exists (select from "headwater".marks_of(v.id, t.xid) m where m.snapshot is null or m.map <> 0)
      or exists (select from "headwater".parked p where p.view = v.id and t.xid = any (p.xids))
      or (t.fan and exists (select from "headwater".mark m where m.view = v.id and m.snapshot is not null and not pg_visible_in_snapshot(t.xid, m.snapshot))));
end $$;

--
-- Name: write_rows(integer[], bigint, integer[], integer[], integer[], integer[], text[], integer[], integer[], text[], text[]); Type: FUNCTION; Schema: headwater; Owner: -
--

CREATE FUNCTION headwater.write_rows(standing integer[], head bigint, verdicts integer[], request_events integer[], row_request integer[], row_projection integer[], row_key text[], row_event integer[], row_version integer[], row_json text[], row_texts text[]) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET jit TO 'off'
    SET enable_seqscan TO 'off'
    SET enable_hashjoin TO 'off'
    SET enable_mergejoin TO 'off'
    AS $_$
declare
  p record;
  starts bigint[] := array_fill(head, array[cardinality(verdicts)]);
  reached bigint := head;
begin
  for i in 1 .. cardinality(verdicts) loop
    starts[i] := reached;
    if verdicts[i] = 0 then reached := reached + request_events[i]; end if;
  end loop;
  for p in select x.id, x.table_name from "headwater".projection x where x.id = any (standing) and x.id = any (row_projection) loop
    execute format('with wanted as (
        select distinct on (w.key) w.key, $3[w.request] + w.event + 1 as position, w.version, w.row, w.texts
        from unnest($4, $5, $6, $7, $8, $9, $10) w(request, projection, key, event, version, row, texts)
        where w.projection = $1 and $2[w.request] = 0
          and not exists (select from "headwater".parked_key k where k.projection = $1 and k.key = w.key)
        order by w.key, w.request desc),
      gone as (delete from %1$I.%2$I t using wanted w where w.row is null and t.key = w.key)
      insert into %1$I.%2$I as t (key, row, position, version, texts)
      select w.key, w.row::jsonb, w.position,
        case when w.version is not null then (select e.version from "headwater".event e where e.position = w.position) end, w.texts::text[]
      from wanted w where w.row is not null
      on conflict (key) do update set row = excluded.row, position = excluded.position, version = excluded.version, texts = excluded.texts',
      'headwater', p.table_name)
    using p.id, verdicts, starts, row_request, row_projection, row_key, row_event, row_version, row_json, row_texts;
  end loop;
end $_$;

--
-- Name: checkpoint; Type: TABLE; Schema: headwater; Owner: -
--

CREATE TABLE headwater.checkpoint (
    projection integer NOT NULL,
    first smallint NOT NULL,
    last smallint NOT NULL,
    "position" bigint NOT NULL,
    event_id uuid,
    owner uuid,
    lease_until timestamp with time zone,
    turn integer DEFAULT 0 NOT NULL
)
WITH (fillfactor='20', autovacuum_vacuum_scale_factor='0', autovacuum_vacuum_threshold='1000', autovacuum_vacuum_cost_delay='0');

--
-- Name: command; Type: TABLE; Schema: headwater; Owner: -
--

CREATE TABLE headwater.command (
    name text NOT NULL,
    key text NOT NULL,
    input_hash text NOT NULL,
    state text NOT NULL,
    result jsonb,
    code text,
    xid xid8 DEFAULT pg_current_xact_id() NOT NULL,
    fan_out boolean DEFAULT false NOT NULL,
    created_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    CONSTRAINT command_state_check CHECK ((state = ANY (ARRAY['running'::text, 'done'::text, 'refused'::text, 'abandoned'::text])))
);

--
-- Name: complaint; Type: TABLE; Schema: headwater; Owner: -
--

CREATE TABLE headwater.complaint (
    view integer NOT NULL,
    message text NOT NULL,
    at timestamp with time zone DEFAULT clock_timestamp() NOT NULL
);

--
-- Name: due; Type: TABLE; Schema: headwater; Owner: -
--

CREATE TABLE headwater.due (
    xid xid8 DEFAULT pg_current_xact_id() NOT NULL
);

--
-- Name: event; Type: TABLE; Schema: headwater; Owner: -
--

CREATE TABLE headwater.event (
    "position" bigint NOT NULL,
    stream text NOT NULL COLLATE pg_catalog."C",
    version integer NOT NULL,
    id uuid NOT NULL,
    type text NOT NULL COLLATE pg_catalog."C",
    schema_version smallint NOT NULL,
    data json NOT NULL,
    metadata json NOT NULL,
    "time" timestamp with time zone NOT NULL
);

--
-- Name: fence; Type: TABLE; Schema: headwater; Owner: -
--

CREATE TABLE headwater.fence (
    call uuid NOT NULL,
    at timestamp with time zone DEFAULT clock_timestamp() NOT NULL
);

--
-- Name: generation; Type: TABLE; Schema: headwater; Owner: -
--

CREATE TABLE headwater.generation (
    id uuid DEFAULT gen_random_uuid() NOT NULL,
    identity jsonb NOT NULL,
    created_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL
);

--
-- Name: key_request; Type: TABLE; Schema: headwater; Owner: -
--

CREATE TABLE headwater.key_request (
    id bigint NOT NULL,
    projection integer NOT NULL,
    action text NOT NULL,
    key text COLLATE pg_catalog."C",
    reason text,
    requested_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    done_at timestamp with time zone,
    outcome text,
    CONSTRAINT key_request_action_check CHECK ((action = ANY (ARRAY['retry'::text, 'skip'::text, 'repair'::text])))
);

--
-- Name: key_request_id_seq; Type: SEQUENCE; Schema: headwater; Owner: -
--

ALTER TABLE headwater.key_request ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME headwater.key_request_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

--
-- Name: map; Type: TABLE; Schema: headwater; Owner: -
--

CREATE TABLE headwater.map (
    view integer NOT NULL,
    source oid NOT NULL,
    number smallint NOT NULL,
    columns text[] NOT NULL,
    reads text[],
    expand_sql text
);

--
-- Name: migration; Type: TABLE; Schema: headwater; Owner: -
--

CREATE TABLE headwater.migration (
    number integer NOT NULL,
    name text NOT NULL,
    applied_at timestamp with time zone DEFAULT now() NOT NULL
);

--
-- Name: parked; Type: TABLE; Schema: headwater; Owner: -
--

CREATE TABLE headwater.parked (
    view integer NOT NULL,
    key text NOT NULL,
    reason text NOT NULL,
    sql_state text NOT NULL,
    xids xid8[] NOT NULL,
    parked_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL
);

--
-- Name: parked_key; Type: TABLE; Schema: headwater; Owner: -
--

CREATE TABLE headwater.parked_key (
    projection integer NOT NULL,
    key text NOT NULL COLLATE pg_catalog."C",
    "position" bigint NOT NULL,
    event_id uuid,
    reason text NOT NULL,
    parked_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL
);

--
-- Name: projection; Type: TABLE; Schema: headwater; Owner: -
--

CREATE TABLE headwater.projection (
    id integer NOT NULL,
    name text NOT NULL,
    version integer NOT NULL,
    code_hash text NOT NULL,
    mode text NOT NULL,
    state text NOT NULL,
    error text,
    error_code text,
    store text,
    table_name text NOT NULL,
    shape jsonb NOT NULL,
    created_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    build_started_at timestamp with time zone,
    build_total bigint,
    built_at timestamp with time zone,
    retired_at timestamp with time zone,
    CONSTRAINT projection_mode_check CHECK ((mode = ANY (ARRAY['sync'::text, 'async'::text]))),
    CONSTRAINT projection_state_check CHECK ((state = ANY (ARRAY['building'::text, 'live'::text, 'previous'::text, 'paused'::text, 'stopped'::text])))
);

--
-- Name: projection_id_seq; Type: SEQUENCE; Schema: headwater; Owner: -
--

ALTER TABLE headwater.projection ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME headwater.projection_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

--
-- Name: projector; Type: TABLE; Schema: headwater; Owner: -
--

CREATE TABLE headwater.projector (
    id uuid NOT NULL,
    alive_until timestamp with time zone NOT NULL,
    runs integer[] DEFAULT '{}'::integer[] NOT NULL
);

--
-- Name: reaction; Type: TABLE; Schema: headwater; Owner: -
--

CREATE TABLE headwater.reaction (
    name text NOT NULL,
    "position" bigint NOT NULL,
    event_id uuid,
    owner uuid,
    lease_until timestamp with time zone,
    error text,
    created_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL
);

--
-- Name: reaction_task; Type: TABLE; Schema: headwater; Owner: -
--

CREATE TABLE headwater.reaction_task (
    id text NOT NULL,
    reaction text NOT NULL,
    event_id uuid NOT NULL,
    ordinal integer NOT NULL,
    "position" bigint NOT NULL,
    key text NOT NULL,
    command text,
    input json,
    correlation_id text,
    due_at timestamp with time zone NOT NULL,
    attempts integer DEFAULT 0 NOT NULL,
    state text DEFAULT 'waiting'::text NOT NULL,
    error text,
    created_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    CONSTRAINT reaction_task_state_check CHECK ((state = ANY (ARRAY['waiting'::text, 'parked'::text, 'skipped'::text])))
);

--
-- Name: read_model; Type: TABLE; Schema: headwater; Owner: -
--

CREATE TABLE headwater.read_model (
    name text NOT NULL,
    active integer,
    seen_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL
);

--
-- Name: skipped_event; Type: TABLE; Schema: headwater; Owner: -
--

CREATE TABLE headwater.skipped_event (
    projection integer NOT NULL,
    key text NOT NULL COLLATE pg_catalog."C",
    "position" bigint NOT NULL,
    event_id uuid,
    reason text NOT NULL,
    skipped_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL
);

--
-- Name: snapshot; Type: TABLE; Schema: headwater; Owner: -
--

CREATE TABLE headwater.snapshot (
    aggregate text NOT NULL COLLATE pg_catalog."C",
    stream text NOT NULL COLLATE pg_catalog."C",
    version integer NOT NULL,
    fingerprint text NOT NULL,
    state json NOT NULL,
    taken_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL
);

--
-- Name: source; Type: TABLE; Schema: headwater; Owner: -
--

CREATE TABLE headwater.source (
    relation oid NOT NULL,
    name text NOT NULL,
    leaves oid[] NOT NULL,
    primary_key text[] NOT NULL,
    fingerprint text
);

--
-- Name: staged; Type: TABLE; Schema: headwater; Owner: -
--

CREATE UNLOGGED TABLE headwater.staged (
    id uuid NOT NULL,
    believed text,
    request_events integer[],
    stream_request integer[],
    stream_name text[],
    stream_expected integer[],
    event_entry integer[],
    event_offset integer[],
    event_stream text[],
    event_id uuid[],
    event_type text[],
    event_schema smallint[],
    event_data json[],
    event_metadata json[],
    kept integer[],
    row_request integer[],
    row_projection integer[],
    row_key text[],
    row_was bigint[],
    row_event integer[],
    row_version integer[],
    row_json text[],
    row_texts text[],
    at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    xid text,
    head bigint,
    versions integer[],
    behind integer[]
);

--
-- Name: view; Type: TABLE; Schema: headwater; Owner: -
--

CREATE TABLE headwater.view (
    id integer NOT NULL,
    name text NOT NULL,
    version integer NOT NULL,
    fingerprint text NOT NULL,
    mode text NOT NULL,
    state text NOT NULL,
    error text,
    table_name text NOT NULL,
    shape jsonb NOT NULL,
    store text,
    echo boolean NOT NULL,
    select_sql text NOT NULL,
    refresh_sql text NOT NULL,
    enqueue_sql text NOT NULL,
    difference_sql text NOT NULL,
    range_sql text NOT NULL,
    keys_total bigint,
    build_started_at timestamp with time zone,
    built_at timestamp with time zone,
    retired_at timestamp with time zone,
    CONSTRAINT view_mode_check CHECK ((mode = ANY (ARRAY['sync'::text, 'async'::text]))),
    CONSTRAINT view_state_check CHECK ((state = ANY (ARRAY['installing'::text, 'building'::text, 'live'::text, 'previous'::text, 'stopped'::text])))
);

--
-- Name: view_batch; Type: SEQUENCE; Schema: headwater; Owner: -
--

CREATE SEQUENCE headwater.view_batch
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;

--
-- Name: view_definition; Type: TABLE; Schema: headwater; Owner: -
--

CREATE TABLE headwater.view_definition (
    name text NOT NULL,
    fingerprint text NOT NULL,
    version integer NOT NULL,
    place integer NOT NULL
);

--
-- Name: view_id_seq; Type: SEQUENCE; Schema: headwater; Owner: -
--

ALTER TABLE headwater.view ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME headwater.view_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

--
-- Name: view_store; Type: TABLE; Schema: headwater; Owner: -
--

CREATE TABLE headwater.view_store (
    view integer NOT NULL,
    seed text DEFAULT substr(replace((gen_random_uuid())::text, '-'::text, ''::text), 1, 12) NOT NULL,
    reached bigint DEFAULT 0 NOT NULL,
    batch_id text,
    intended text[] DEFAULT '{}'::text[] NOT NULL,
    filling boolean DEFAULT true NOT NULL,
    overwrite boolean DEFAULT false NOT NULL,
    trouble text,
    owner uuid,
    lease_until timestamp with time zone
)
WITH (fillfactor='20', autovacuum_vacuum_scale_factor='0', autovacuum_vacuum_threshold='1000', autovacuum_vacuum_cost_delay='0');

--
-- Name: view_worker; Type: TABLE; Schema: headwater; Owner: -
--

CREATE TABLE headwater.view_worker (
    id uuid NOT NULL,
    views integer[] NOT NULL,
    alive_until timestamp with time zone NOT NULL
);

--
-- Name: checkpoint checkpoint_pkey; Type: CONSTRAINT; Schema: headwater; Owner: -
--

ALTER TABLE ONLY headwater.checkpoint
    ADD CONSTRAINT checkpoint_pkey PRIMARY KEY (projection, first);

--
-- Name: command command_pkey; Type: CONSTRAINT; Schema: headwater; Owner: -
--

ALTER TABLE ONLY headwater.command
    ADD CONSTRAINT command_pkey PRIMARY KEY (name, key);

--
-- Name: due due_pkey; Type: CONSTRAINT; Schema: headwater; Owner: -
--

ALTER TABLE ONLY headwater.due
    ADD CONSTRAINT due_pkey PRIMARY KEY (xid);

--
-- Name: event event_pkey; Type: CONSTRAINT; Schema: headwater; Owner: -
--

ALTER TABLE ONLY headwater.event
    ADD CONSTRAINT event_pkey PRIMARY KEY ("position");

--
-- Name: event event_stream_version_key; Type: CONSTRAINT; Schema: headwater; Owner: -
--

ALTER TABLE ONLY headwater.event
    ADD CONSTRAINT event_stream_version_key UNIQUE (stream, version);

--
-- Name: fence fence_pkey; Type: CONSTRAINT; Schema: headwater; Owner: -
--

ALTER TABLE ONLY headwater.fence
    ADD CONSTRAINT fence_pkey PRIMARY KEY (call);

--
-- Name: key_request key_request_pkey; Type: CONSTRAINT; Schema: headwater; Owner: -
--

ALTER TABLE ONLY headwater.key_request
    ADD CONSTRAINT key_request_pkey PRIMARY KEY (id);

--
-- Name: map map_pkey; Type: CONSTRAINT; Schema: headwater; Owner: -
--

ALTER TABLE ONLY headwater.map
    ADD CONSTRAINT map_pkey PRIMARY KEY (view, source);

--
-- Name: migration migration_pkey; Type: CONSTRAINT; Schema: headwater; Owner: -
--

ALTER TABLE ONLY headwater.migration
    ADD CONSTRAINT migration_pkey PRIMARY KEY (number);

--
-- Name: parked_key parked_key_pkey; Type: CONSTRAINT; Schema: headwater; Owner: -
--

ALTER TABLE ONLY headwater.parked_key
    ADD CONSTRAINT parked_key_pkey PRIMARY KEY (projection, key);

--
-- Name: parked parked_pkey; Type: CONSTRAINT; Schema: headwater; Owner: -
--

ALTER TABLE ONLY headwater.parked
    ADD CONSTRAINT parked_pkey PRIMARY KEY (view, key);

--
-- Name: projection projection_name_version_key; Type: CONSTRAINT; Schema: headwater; Owner: -
--

ALTER TABLE ONLY headwater.projection
    ADD CONSTRAINT projection_name_version_key UNIQUE (name, version);

--
-- Name: projection projection_pkey; Type: CONSTRAINT; Schema: headwater; Owner: -
--

ALTER TABLE ONLY headwater.projection
    ADD CONSTRAINT projection_pkey PRIMARY KEY (id);

--
-- Name: projector projector_pkey; Type: CONSTRAINT; Schema: headwater; Owner: -
--

ALTER TABLE ONLY headwater.projector
    ADD CONSTRAINT projector_pkey PRIMARY KEY (id);

--
-- Name: reaction reaction_pkey; Type: CONSTRAINT; Schema: headwater; Owner: -
--

ALTER TABLE ONLY headwater.reaction
    ADD CONSTRAINT reaction_pkey PRIMARY KEY (name);

--
-- Name: reaction_task reaction_task_pkey; Type: CONSTRAINT; Schema: headwater; Owner: -
--

ALTER TABLE ONLY headwater.reaction_task
    ADD CONSTRAINT reaction_task_pkey PRIMARY KEY (id);

--
-- Name: read_model read_model_pkey; Type: CONSTRAINT; Schema: headwater; Owner: -
--

ALTER TABLE ONLY headwater.read_model
    ADD CONSTRAINT read_model_pkey PRIMARY KEY (name);

--
-- Name: skipped_event skipped_event_pkey; Type: CONSTRAINT; Schema: headwater; Owner: -
--

ALTER TABLE ONLY headwater.skipped_event
    ADD CONSTRAINT skipped_event_pkey PRIMARY KEY (projection, key, "position");

--
-- Name: snapshot snapshot_pkey; Type: CONSTRAINT; Schema: headwater; Owner: -
--

ALTER TABLE ONLY headwater.snapshot
    ADD CONSTRAINT snapshot_pkey PRIMARY KEY (aggregate, stream);

--
-- Name: source source_pkey; Type: CONSTRAINT; Schema: headwater; Owner: -
--

ALTER TABLE ONLY headwater.source
    ADD CONSTRAINT source_pkey PRIMARY KEY (relation);

--
-- Name: staged staged_pkey; Type: CONSTRAINT; Schema: headwater; Owner: -
--

ALTER TABLE ONLY headwater.staged
    ADD CONSTRAINT staged_pkey PRIMARY KEY (id);

--
-- Name: view_definition view_definition_pkey; Type: CONSTRAINT; Schema: headwater; Owner: -
--

ALTER TABLE ONLY headwater.view_definition
    ADD CONSTRAINT view_definition_pkey PRIMARY KEY (name, fingerprint);

--
-- Name: view view_name_version_key; Type: CONSTRAINT; Schema: headwater; Owner: -
--

ALTER TABLE ONLY headwater.view
    ADD CONSTRAINT view_name_version_key UNIQUE (name, version);

--
-- Name: view view_pkey; Type: CONSTRAINT; Schema: headwater; Owner: -
--

ALTER TABLE ONLY headwater.view
    ADD CONSTRAINT view_pkey PRIMARY KEY (id);

--
-- Name: view_store view_store_pkey; Type: CONSTRAINT; Schema: headwater; Owner: -
--

ALTER TABLE ONLY headwater.view_store
    ADD CONSTRAINT view_store_pkey PRIMARY KEY (view);

--
-- Name: view_worker view_worker_pkey; Type: CONSTRAINT; Schema: headwater; Owner: -
--

ALTER TABLE ONLY headwater.view_worker
    ADD CONSTRAINT view_worker_pkey PRIMARY KEY (id);

--
-- Name: command_created_at; Type: INDEX; Schema: headwater; Owner: -
--

CREATE INDEX command_created_at ON headwater.command USING btree (created_at);

--
-- Name: event_type; Type: INDEX; Schema: headwater; Owner: -
--

CREATE INDEX event_type ON headwater.event USING btree (type, "position");

--
-- Name: key_request_open; Type: INDEX; Schema: headwater; Owner: -
--

CREATE INDEX key_request_open ON headwater.key_request USING btree (projection) WHERE (done_at IS NULL);

--
-- Name: mark_claim; Type: INDEX; Schema: headwater; Owner: -
--

CREATE INDEX mark_claim ON headwater.mark USING btree (view, lane, xid);

--
-- Name: reaction_task_due; Type: INDEX; Schema: headwater; Owner: -
--

CREATE INDEX reaction_task_due ON headwater.reaction_task USING btree (reaction, due_at, "position", ordinal) WHERE (state = 'waiting'::text);

--
-- Name: reaction_task_order; Type: INDEX; Schema: headwater; Owner: -
--

CREATE INDEX reaction_task_order ON headwater.reaction_task USING btree (reaction, key, "position", ordinal) WHERE (state <> 'skipped'::text);

--
-- Name: staged append_1_settle; Type: TRIGGER; Schema: headwater; Owner: -
--

CREATE CONSTRAINT TRIGGER append_1_settle AFTER INSERT ON headwater.staged DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION headwater.settle_constraints();

--
-- Name: staged append_2_append; Type: TRIGGER; Schema: headwater; Owner: -
--

CREATE CONSTRAINT TRIGGER append_2_append AFTER INSERT ON headwater.staged DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION headwater.append_staged();

--
-- Name: due apply_sync; Type: TRIGGER; Schema: headwater; Owner: -
--

CREATE CONSTRAINT TRIGGER apply_sync AFTER INSERT ON headwater.due DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION headwater.apply_sync();

--
-- Name: checkpoint checkpoint_projection_fkey; Type: FK CONSTRAINT; Schema: headwater; Owner: -
--

ALTER TABLE ONLY headwater.checkpoint
    ADD CONSTRAINT checkpoint_projection_fkey FOREIGN KEY (projection) REFERENCES headwater.projection(id) ON DELETE CASCADE;

--
-- Name: key_request key_request_projection_fkey; Type: FK CONSTRAINT; Schema: headwater; Owner: -
--

ALTER TABLE ONLY headwater.key_request
    ADD CONSTRAINT key_request_projection_fkey FOREIGN KEY (projection) REFERENCES headwater.projection(id) ON DELETE CASCADE;

--
-- Name: map map_view_fkey; Type: FK CONSTRAINT; Schema: headwater; Owner: -
--

ALTER TABLE ONLY headwater.map
    ADD CONSTRAINT map_view_fkey FOREIGN KEY (view) REFERENCES headwater.view(id) ON DELETE CASCADE;

--
-- Name: parked_key parked_key_projection_fkey; Type: FK CONSTRAINT; Schema: headwater; Owner: -
--

ALTER TABLE ONLY headwater.parked_key
    ADD CONSTRAINT parked_key_projection_fkey FOREIGN KEY (projection) REFERENCES headwater.projection(id) ON DELETE CASCADE;

--
-- Name: parked parked_view_fkey; Type: FK CONSTRAINT; Schema: headwater; Owner: -
--

ALTER TABLE ONLY headwater.parked
    ADD CONSTRAINT parked_view_fkey FOREIGN KEY (view) REFERENCES headwater.view(id) ON DELETE CASCADE;

--
-- Name: projection projection_name_fkey; Type: FK CONSTRAINT; Schema: headwater; Owner: -
--

ALTER TABLE ONLY headwater.projection
    ADD CONSTRAINT projection_name_fkey FOREIGN KEY (name) REFERENCES headwater.read_model(name) ON DELETE CASCADE;

--
-- Name: reaction_task reaction_task_reaction_fkey; Type: FK CONSTRAINT; Schema: headwater; Owner: -
--

ALTER TABLE ONLY headwater.reaction_task
    ADD CONSTRAINT reaction_task_reaction_fkey FOREIGN KEY (reaction) REFERENCES headwater.reaction(name) ON DELETE CASCADE;

--
-- Name: skipped_event skipped_event_projection_fkey; Type: FK CONSTRAINT; Schema: headwater; Owner: -
--

ALTER TABLE ONLY headwater.skipped_event
    ADD CONSTRAINT skipped_event_projection_fkey FOREIGN KEY (projection) REFERENCES headwater.projection(id) ON DELETE CASCADE;

--
-- Name: view_definition view_definition_name_fkey; Type: FK CONSTRAINT; Schema: headwater; Owner: -
--

ALTER TABLE ONLY headwater.view_definition
    ADD CONSTRAINT view_definition_name_fkey FOREIGN KEY (name) REFERENCES headwater.read_model(name) ON DELETE CASCADE;

--
-- Name: view view_name_fkey; Type: FK CONSTRAINT; Schema: headwater; Owner: -
--

ALTER TABLE ONLY headwater.view
    ADD CONSTRAINT view_name_fkey FOREIGN KEY (name) REFERENCES headwater.read_model(name) ON DELETE CASCADE;

--
-- Name: view_store view_store_view_fkey; Type: FK CONSTRAINT; Schema: headwater; Owner: -
--

ALTER TABLE ONLY headwater.view_store
    ADD CONSTRAINT view_store_view_fkey FOREIGN KEY (view) REFERENCES headwater.view(id) ON DELETE CASCADE;

--
-- PostgreSQL database dump complete
--
