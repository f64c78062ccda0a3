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
`
