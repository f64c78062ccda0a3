-- The PostgreSQL schema that Headwater keeps for itself. Made by "npm run schema:dump" on PostgreSQL 15; do not edit.

--
-- PostgreSQL database dump
--

--
-- Name: headwater; Type: SCHEMA; Schema: -; Owner: -
--

CREATE SCHEMA headwater;

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
                   order by k.xid limit 256 for update skip locked) end)
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
    LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
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
  from "headwater".view v where v.id = any (views)
$$;

--
-- Name: pending(); Type: FUNCTION; Schema: headwater; Owner: -
--

CREATE FUNCTION headwater.pending() RETURNS TABLE(view integer, lag_ms double precision, waiting boolean)
    LANGUAGE sql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
  select v.id,
    greatest(0, extract(epoch from clock_timestamp() - least(
      (select m.at from "headwater".mark m where m.view = v.id and m.lane = 0 and m.snapshot is null order by m.xid limit 1),
      (select m.at from "headwater".mark m where m.view = v.id and m.lane = 1 and m.snapshot is null order by m.xid limit 1))) * 1000)::double precision,
    exists (select from "headwater".mark m where m.view = v.id)
  from "headwater".view v where v.state in ('building', 'live', 'previous')
$$;

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
    if left(state, 2) in ('08', '0A', '25', '26', '3D', '3F', '40', '42', '53', '54', '55', '57', '58', 'F0', 'XX') then
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
-- Name: split(integer, integer, xid8, text[]); Type: FUNCTION; Schema: headwater; Owner: -
--

CREATE FUNCTION headwater.split(view_id integer, lane integer, origin xid8, keys text[]) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
begin
  execute format('insert into "headwater".mark (view, lane, xid, map, keys)
    select $1, $2, $3, 0, array_agg(k order by n)
    from (select k, row_number() over (order by "headwater".bucket_%s(k)) as n from unnest($4) k) s group by (n - 1) / 500', view_id)
  using view_id, lane, origin, keys;
end $_$;

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
  select r.active into old from "headwater".read_model r where r.name = v.name for update;
  if old is distinct from view_id and old is not null then
    perform pg_advisory_xact_lock(-521398561, old);
  end if;
  while exists (select from "headwater".mark n where n.view = view_id and (n.lane = 2 or (old is not null and not exists
    (select from "headwater".marks_of(old, n.xid)))))
  loop
    rounds := rounds + 1;
    if rounds > 100 then return false; end if;
    perform "headwater".drain(view_id, rounds % 2 = 0, null);
  end loop;
  update "headwater".view w set state = 'previous', retired_at = clock_timestamp() where w.name = v.name and w.id <> view_id and w.state = 'live';
  update "headwater".view w set state = 'live', retired_at = null, built_at = coalesce(w.built_at, clock_timestamp()) where w.id = view_id;
  update "headwater".read_model r set active = view_id where r.name = v.name;
  perform "headwater".publish(v.name, v.table_name);
  return true;
end $$;

--
-- Name: unapplied(xid8[], boolean[]); Type: FUNCTION; Schema: headwater; Owner: -
--

CREATE FUNCTION headwater.unapplied(writes xid8[], fans boolean[]) RETURNS SETOF xid8
    LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
  select t.xid from unnest(writes, fans) t(xid, fan)
  where exists (select from "headwater".view v where
      exists (select from "headwater".marks_of(v.id, t.xid) m where m.snapshot is null or m.map <> 0)
      or exists (select from "headwater".parked p where p.view = v.id and t.xid = any (p.xids))
      or (t.fan and exists (select from "headwater".mark m where m.view = v.id and m.snapshot is not null and not pg_visible_in_snapshot(t.xid, m.snapshot))))
$$;

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
-- Name: generation; Type: TABLE; Schema: headwater; Owner: -
--

CREATE TABLE headwater.generation (
    id uuid DEFAULT gen_random_uuid() NOT NULL,
    identity jsonb NOT NULL,
    created_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL
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
-- Name: read_model; Type: TABLE; Schema: headwater; Owner: -
--

CREATE TABLE headwater.read_model (
    name text NOT NULL,
    active integer,
    seen_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL
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
-- Name: parked parked_pkey; Type: CONSTRAINT; Schema: headwater; Owner: -
--

ALTER TABLE ONLY headwater.parked
    ADD CONSTRAINT parked_pkey PRIMARY KEY (view, key);

--
-- Name: read_model read_model_pkey; Type: CONSTRAINT; Schema: headwater; Owner: -
--

ALTER TABLE ONLY headwater.read_model
    ADD CONSTRAINT read_model_pkey PRIMARY KEY (name);

--
-- Name: source source_pkey; Type: CONSTRAINT; Schema: headwater; Owner: -
--

ALTER TABLE ONLY headwater.source
    ADD CONSTRAINT source_pkey PRIMARY KEY (relation);

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
-- Name: command_created_at; Type: INDEX; Schema: headwater; Owner: -
--

CREATE INDEX command_created_at ON headwater.command USING btree (created_at);

--
-- Name: mark_claim; Type: INDEX; Schema: headwater; Owner: -
--

CREATE INDEX mark_claim ON headwater.mark USING btree (view, lane, xid);

--
-- Name: due apply_sync; Type: TRIGGER; Schema: headwater; Owner: -
--

CREATE CONSTRAINT TRIGGER apply_sync AFTER INSERT ON headwater.due DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION headwater.apply_sync();

--
-- Name: map map_view_fkey; Type: FK CONSTRAINT; Schema: headwater; Owner: -
--

ALTER TABLE ONLY headwater.map
    ADD CONSTRAINT map_view_fkey FOREIGN KEY (view) REFERENCES headwater.view(id) ON DELETE CASCADE;

--
-- Name: parked parked_view_fkey; Type: FK CONSTRAINT; Schema: headwater; Owner: -
--

ALTER TABLE ONLY headwater.parked
    ADD CONSTRAINT parked_view_fkey FOREIGN KEY (view) REFERENCES headwater.view(id) ON DELETE CASCADE;

--
-- Name: view view_name_fkey; Type: FK CONSTRAINT; Schema: headwater; Owner: -
--

ALTER TABLE ONLY headwater.view
    ADD CONSTRAINT view_name_fkey FOREIGN KEY (name) REFERENCES headwater.read_model(name) ON DELETE CASCADE;

--
-- PostgreSQL database dump complete
--
