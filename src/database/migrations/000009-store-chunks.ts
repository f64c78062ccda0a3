/** Long lists of keys of views in other stores. */
export const sql = `
-- As before for a view in this database. One in another store is worked on by one process at a time, which locks nothing: its keys stay in their order.
create or replace function :schema.split(view_id integer, lane integer, origin xid8, keys text[]) returns void
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  bucket text := case when exists (select from :schema.view_store t where t.view = view_id) then '0' else ':schema.bucket_' || view_id || '(k)' end;
begin
  execute 'insert into :schema.mark (view, lane, xid, map, keys)
    select $1, $2, $3, 0, array_agg(k order by n)
    from (select k, row_number() over (order by ' || bucket || ', at) as n from unnest($4) with ordinality u(k, at)) s group by (n - 1) / 500'
  using view_id, lane, origin, keys;
end $$;
`
