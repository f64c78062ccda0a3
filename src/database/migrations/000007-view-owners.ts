/** Which definitions of a view were ever seen, and in which order; who works on views in other stores. */
export const sql = `
-- Outlives the versions, so that a process with an older definition is known as such when its version is gone. 'place' is the order.
create table :schema.view_definition (
  name text not null references :schema.read_model on delete cascade,
  fingerprint text not null,
  version integer not null,
  place integer not null,
  primary key (name, fingerprint)
);
insert into :schema.view_definition (name, fingerprint, version, place)
select v.name, v.fingerprint, max(v.version), max(v.version) from :schema.view v group by v.name, v.fingerprint;

-- As before, but that a value which is too long for an index (54000) is its key's own error.
create or replace function :schema.refresh(view_id integer, keys text[], origins xid8[], out written integer, out deleted integer, out parked integer)
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
    if state <> '54000' and left(state, 2) in ('08', '0A', '25', '26', '3D', '3F', '40', '42', '53', '54', '55', '57', '58', 'F0', 'XX') then
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

-- Processes that work on views in other stores, and on which versions they can. Who is not heard of for three seconds is not counted.
create table :schema.view_worker (
  id uuid primary key,
  views integer[] not null,
  alive_until timestamptz not null
);

-- As before, but that the owner keeps what it has.
create or replace function :schema.store_written(view_id integer, at_reached bigint, at_id text, next_reached bigint, next_id text, is_filled boolean,
  marks tid[], origins xid8[], park text[], reasons text[], states text[], unpark text[]) returns boolean
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
  perform pg_advisory_xact_lock_shared(:lock_class + 1, view_id);
  update :schema.view_store t
  set reached = next_reached, batch_id = next_id, intended = '{}', filling = t.filling and not is_filled, trouble = null
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

-- As before, also of the owner's own batch.
create function :schema.store_adopt(view_id integer, who uuid, at_reached bigint, at_id text, next_reached bigint, next_id text, is_filled boolean) returns boolean
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
  update :schema.view_store t
  set reached = next_reached, batch_id = next_id, intended = '{}', filling = t.filling and not is_filled
  where t.view = view_id and t.reached = at_reached and t.batch_id is not distinct from at_id and next_id = any (t.intended)
    and (t.owner is null or t.owner = who or t.lease_until < clock_timestamp());
  return found;
end $$;

-- What a process needs to know to decide on which views in other stores it works. Says that it lives, where 'say'; keeps its leases on those of 'idle',
-- which have no batch under way that would do so. 'others': how many leases each living process has that can work on the view, this one left out.
create function :schema.store_shares(who uuid, able integer[], idle integer[], say boolean)
returns table (view integer, mine boolean, free boolean, abandoned boolean, others integer[])
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
#variable_conflict use_column
begin
  if say then
    delete from :schema.view_worker w where w.ctid = any (array(
      select d.ctid from :schema.view_worker d where d.alive_until < clock_timestamp() - interval '1 minute' for update skip locked));
    insert into :schema.view_worker as w (id, views, alive_until) values (who, able, clock_timestamp() + interval '3 seconds')
    on conflict (id) do update set views = excluded.views, alive_until = excluded.alive_until;
  end if;
  update :schema.view_store t set lease_until = clock_timestamp() + interval '3 seconds'
  where t.owner = who and t.view = any (idle) and t.lease_until > clock_timestamp() and t.lease_until < clock_timestamp() + interval '2 seconds';
  return query
  with held as materialized (
    select w.id, w.views, (select count(*) from :schema.view_store t where t.owner = w.id and t.lease_until > clock_timestamp())::integer as leases
    from :schema.view_worker w where w.id <> who and w.alive_until > clock_timestamp())
  select t.view, coalesce(t.owner = who and t.lease_until > clock_timestamp(), false), t.owner is null or t.lease_until <= clock_timestamp(),
    coalesce(t.lease_until, '-infinity') < clock_timestamp() - interval '3 seconds',
    array(select h.leases from held h where t.view = any (h.views))
  from :schema.view_store t join :schema.view v on v.id = t.view
  where v.state in ('building', 'live', 'previous') order by t.view;
end $$;

-- Takes a view that nobody has, or whose owner fell silent.
create function :schema.store_take(view_id integer, who uuid) returns boolean
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
  update :schema.view_store t set owner = who, lease_until = clock_timestamp() + interval '3 seconds'
  where t.view = view_id and (t.owner is null or t.owner = who or t.lease_until <= clock_timestamp());
  return found;
end $$;
`
