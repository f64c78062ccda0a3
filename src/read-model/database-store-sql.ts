import { quote } from '../database/identifier.ts'
import { rowTableName } from './row-table.ts'
import type { StoredModel } from './store.ts'

/** The statements of a {@link databaseStore} for one version. The first three parameters are always the application, the name and the version. */
export interface StoreStatements {
  readonly table: string
  readonly load: string
  readonly apply: string
  readonly begin: string
  readonly split: string
  readonly merge: string
  readonly checkpoints: string
  readonly parked: string
  range(text: string, reverse: boolean): string
}

/** Where versions are registered: in Headwater's own schema of the write database, or in tables that the store keeps for itself. */
export function storeStatements(schema: string, home: boolean, model: StoredModel): StoreStatements {
  const s = quote(schema)
  const table = rowTableName(model, home)
  const t = `${s}.${quote(table)}`
  const uuid = home ? 'uuid' : 'text'
  const own = home
    ? `(select id from ${s}.projection where name = $2 and version = $3::int and $1::text is not null)`
    : `(select id from ${s}.stored_model where owner = $1 and name = $2 and version = $3::int)`
  // The checkpoint of the whole only where every partition has one; whoever owns a part reads its rows before that too.
  const head = `select l.position, l.event_id, (select count(*)::int from ${s}.parked_key k where k.projection = m.projection) as parked, m.projection
      from (select ${own} as projection) m left join lateral (
        select c.position, c.event_id from ${s}.checkpoint c where c.projection = m.projection
          and (select sum(a.last - a.first + 1) from ${s}.checkpoint a where a.projection = c.projection) = 64
        order by c.position, c.first limit 1) l on true`
  return {
    table,
    load: `with h as materialized (${head})
      select h.position, h.event_id, h.parked, r.* from h left join lateral (
        select k.key, t.row::text, t.position, t.version, p.position, p.event_id, p.reason from unnest($4::text[]) k(key)
        left join ${t} t on t.key = k.key left join ${s}.parked_key p on p.projection = h.projection and p.key = k.key
        where t.key is not null or p.key is not null) r on true`,
    range: (text, reverse) =>
      `with h as materialized (${head})
      select h.position, h.event_id, h.parked, r.* from h left join (
        select t.key, t.row::text, t.position, ${text} from ${t} t where ${text} >= $4::text collate "C" and ${text} < $5::text collate "C"
        order by ${text} ${reverse ? 'desc' : 'asc'} limit $6::int) r on true`,
    apply: applySql(s, t, own, uuid),
    begin: `with m as (select id from ${home ? `${s}.projection` : `${s}.stored_model`} where id = ${own} for update),
      c as (insert into ${s}.checkpoint (projection, first, last, position)
        select m.id, $4::int, $5::int, 0 from m where not exists (select from ${s}.checkpoint o where o.projection = m.id and o.first <= $5::int and o.last >= $4::int)
        on conflict do nothing returning 1)
      select count(*)::int as begun from c`,
    split: `with o as (select c.* from ${s}.checkpoint c where c.projection = ${own} and c.first < $4::int and c.last >= $4::int for update),
      a as (update ${s}.checkpoint c set last = $4::int - 1, turn = c.turn + 1 from o where c.projection = o.projection and c.first = o.first)
      insert into ${s}.checkpoint (projection, first, last, position, event_id, turn) select projection, $4::int, last, position, event_id, turn + 1 from o`,
    merge: `with o as (select c.* from ${s}.checkpoint c where c.projection = ${own} and c.first >= $4::int and c.last <= $5::int for update),
      same as (select min(first) as first, max(last) as last, max(turn) as turn from o
        having count(*) > 1 and count(distinct (position, event_id)) = 1 and sum(last - first + 1) = max(last) - min(first) + 1),
      d as (delete from ${s}.checkpoint c using o, same where c.projection = o.projection and c.first = o.first and c.first > same.first)
      update ${s}.checkpoint c set last = same.last, turn = same.turn + 1 from o, same where c.projection = o.projection and c.first = o.first and c.first = same.first`,
    checkpoints: `select first, last, position, event_id from ${s}.checkpoint where projection = ${own} order by first`,
    parked: `select key, position, event_id, reason from ${s}.parked_key where projection = ${own} order by key`,
  }
}

/**
 * One statement: the checkpoint is compared and set first, under its row's lock; everything else asks whether that held. Two owners with the same
 * batch thus take turns, and the second finds another checkpoint. Rows and parked keys are compared with what the batch started from as well, since a
 * repair does not move the checkpoint: a row that moved on, but not as far as the batch, or a key that is not parked any more, makes the whole batch
 * lost. They are looked at before the wait for the lock; that nothing was written meanwhile is what `turn` says, which is judged once more behind it.
 */
function applySql(s: string, t: string, own: string, uuid: string): string {
  return `with seen as materialized (
      select c.projection, c.first, c.turn from ${s}.checkpoint c where c.projection = ${own} and c.first = $4::int and c.last = $5::int),
    wanted as materialized (
      select w.*, coalesce(o.position, 0) as stands
      from unnest($10::text[], $11::text[], $12::int8[], $13::int8[], $14::int[], $15::text[]) w(key, row, was, position, version, texts)
      left join ${t} o on o.key = w.key),
    moved as materialized (
      update ${s}.checkpoint c set position = $8::int8, event_id = $9::${uuid}, turn = c.turn + ($8::int8 = $6::int8)::int from seen
      where c.projection = seen.projection and c.first = seen.first and c.last = $5::int and c.turn = seen.turn
        and c.position = $6::int8 and c.event_id is not distinct from $7::${uuid}
        and not exists (select from wanted w where w.stands <> w.was and w.stands < w.position and (w.stands > 0 or w.row is not null))
        and not exists (select from unnest($21::text[]) q(key)
          where not exists (select from ${s}.parked_key k where k.projection = c.projection and k.key = q.key))
      returning c.projection),
    deleted as (delete from ${t} t using wanted w
      where exists (select from moved) and w.row is null and t.key = w.key and (w.stands = w.was or w.was is null and w.stands < w.position)),
    written as (insert into ${t} as t (key, row, position, version, texts)
      select w.key, w.row::jsonb, w.position, w.version, w.texts::text[] from wanted w
      where exists (select from moved) and w.row is not null and (w.stands = w.was or w.was is null and w.stands < w.position)
      on conflict (key) do update set row = excluded.row, position = excluded.position, version = excluded.version, texts = excluded.texts),
    unparked as (delete from ${s}.parked_key p using moved where p.projection = moved.projection and p.key = any ($20::text[])),
    parked as (insert into ${s}.parked_key (projection, key, position, event_id, reason)
      select moved.projection, p.key, p.position, p.event_id, p.reason
      from moved cross join unnest($16::text[], $17::int8[], $18::${uuid}[], $19::text[]) p(key, position, event_id, reason)
      on conflict (projection, key) do update set position = excluded.position, event_id = excluded.event_id, reason = excluded.reason)
    select count(*)::int as moved from moved`
}

/** The tables of a store that is not in the write database. */
export function ownTables(schema: string): string {
  const s = quote(schema)
  return `create schema if not exists ${s};
    create table if not exists ${s}.stored_model (
      id integer generated always as identity primary key, owner text not null, name text not null, version integer not null,
      created_at timestamptz not null default now(), unique (owner, name, version));
    create table if not exists ${s}.checkpoint (
      projection integer not null references ${s}.stored_model on delete cascade, first smallint not null, last smallint not null,
      position bigint not null, event_id text, turn integer not null default 0, primary key (projection, first)) with (fillfactor = 20);
    alter table ${s}.checkpoint add column if not exists turn integer not null default 0;
    create table if not exists ${s}.parked_key (
      projection integer not null references ${s}.stored_model on delete cascade, key text collate "C" not null, position bigint not null,
      event_id text, reason text not null, parked_at timestamptz not null default now(), primary key (projection, key))`
}
