import { quote } from '../database/identifier.ts'
import { rowTableName } from './row-table.ts'
import type { StoredModel } from './store.ts'

/** The statements of a {@link databaseStore} for one version. The first three parameters are always the application, the name and the version. */
export interface StoreStatements {
  readonly table: string
  /** The version's number, as an expression. */
  readonly own: string
  readonly load: string
  readonly apply: string
  readonly begin: string
  /** Whether there are both rows' table and a checkpoint: without one of them the version is not there. */
  readonly opened: string
  /** Takes checkpoints and parked keys out. */
  readonly forget: string
  /** In the write database: a version whose table is gone begins anew. How many versions that are. */
  readonly heal: string
  readonly hold: string
  readonly judge: string
  readonly trial: string
  readonly split: string
  readonly merge: string
  readonly checkpoints: string
  readonly parked: string
  range(text: string, reverse: boolean): string
}

/** Which database it is, and whether only versions that are built are there. */
export interface StorePlace {
  readonly home: boolean
  readonly built: boolean
}

/** Where versions are registered: in Headwater's own schema of the write database, or in tables that the store keeps for itself. */
export function storeStatements(schema: string, { home, built }: StorePlace, model: StoredModel): StoreStatements {
  const s = quote(schema)
  const table = rowTableName(model, home)
  const t = `${s}.${quote(table)}`
  const uuid = home ? 'uuid' : 'text'
  const isThere = `to_regclass('${t.replaceAll("'", "''")}') is not null`
  const own = home
    ? `(select id from ${s}.projection where name = $2 and version = $3::int and $1::text is not null)`
    : `(select id from ${s}.stored_model where owner = $1 and name = $2 and version = $3::int)`
  const isBuilt = home && built ? `and exists (select from ${s}.projection v where v.id = c.projection and v.built_at is not null)` : ''
  // The checkpoint of the whole only where every partition has one; whoever owns a part reads its rows before that too.
  const head = `select l.position, l.event_id, (select count(*)::int from ${s}.parked_key k where k.projection = m.projection) as parked, m.projection
      from (select ${own} as projection) m left join lateral (
        select c.position, c.event_id from ${s}.checkpoint c where c.projection = m.projection
          and (select sum(a.last - a.first + 1) from ${s}.checkpoint a where a.projection = c.projection) = 64 ${isBuilt}
        order by c.position, c.first limit 1) l on true`
  return {
    table,
    own,
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
    opened: `select ${isThere} and exists (select from ${s}.checkpoint where projection = ${own}) as opened`,
    forget: `with p as (delete from ${s}.parked_key where projection = ${own}) delete from ${s}.checkpoint where projection = ${own}`,
    heal: `with p as (select id from ${s}.projection where id = ${own} and not (${isThere}) for no key update),
      k as (delete from ${s}.parked_key k using p where k.projection = p.id),
      c as (update ${s}.checkpoint c set position = 0, event_id = null, turn = c.turn + 1 from p where c.projection = p.id),
      b as (update ${s}.projection v set state = 'building', built_at = null, build_started_at = null from p
        where v.id = p.id and v.state <> 'paused' and v.built_at is not null)
      select count(*)::int as healed from p`,
    hold: `select from ${s}.checkpoint c where c.projection = ${own} and c.first = $4::int and c.last = $5::int
      and c.position = $6::int8 and c.event_id is not distinct from $7::${uuid} for update`,
    ...rowStatements(t),
    checkpoints: `select first, last, position, event_id from ${s}.checkpoint where projection = ${own} and ${isThere} order by first`,
    parked: `select key, position, event_id, reason from ${s}.parked_key where projection = ${own} and ${isThere} order by key`,
  }
}

const wanted = 'unnest($N::text[], $N::text[], $N::int8[], $N::int8[], $N::int[], $N::text[]) w(key, row, was, position, version, texts)'

/** Changes as a table, their columns in six parameters. */
function changesFrom(first: number): string {
  let next = first
  return wanted.replaceAll('$N', () => `$${next++}`)
}

const isLost = 'w.stands <> w.was and w.stands < w.position and (w.stands > 0 or w.row is not null)'
const isWritten = 'w.row is not null and (w.stands = w.was or w.was is null and w.stands < w.position)'

const write = `on conflict (key) do update set row = excluded.row, position = excluded.position, version = excluded.version, texts = excluded.texts`

/** Over changes alone, within a transaction that holds the checkpoint: which would be written, and whether the table takes them. */
function rowStatements(t: string): Pick<StoreStatements, 'judge' | 'trial'> {
  return {
    judge: `select w.key from (
      select w.*, coalesce(o.position, 0) as stands from ${changesFrom(1)} left join ${t} o on o.key = w.key) w where ${isWritten}`,
    trial: `insert into ${t} as t (key, row, position, version, texts)
      select w.key, w.row::jsonb, w.position, w.version, w.texts::text[] from ${changesFrom(1)} ${write}`,
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
      from ${changesFrom(10)}
      left join ${t} o on o.key = w.key),
    moved as materialized (
      update ${s}.checkpoint c set position = $8::int8, event_id = $9::${uuid}, turn = c.turn + ($8::int8 = $6::int8)::int from seen
      where c.projection = seen.projection and c.first = seen.first and c.last = $5::int and c.turn = seen.turn
        and c.position = $6::int8 and c.event_id is not distinct from $7::${uuid}
        and not exists (select from wanted w where ${isLost})
        and not exists (select from unnest($21::text[]) q(key)
          where not exists (select from ${s}.parked_key k where k.projection = c.projection and k.key = q.key))
      returning c.projection),
    deleted as (delete from ${t} t using wanted w
      where exists (select from moved) and w.row is null and t.key = w.key and (w.stands = w.was or w.was is null and w.stands < w.position)),
    written as (insert into ${t} as t (key, row, position, version, texts)
      select w.key, w.row::jsonb, w.position, w.version, w.texts::text[] from wanted w
      where exists (select from moved) and ${isWritten} ${write}),
    unparked as (delete from ${s}.parked_key p using moved where p.projection = moved.projection and p.key = any ($20::text[])),
    parked as (insert into ${s}.parked_key (projection, key, position, event_id, reason)
      select moved.projection, p.key, p.position, p.event_id, p.reason
      from moved cross join unnest($16::text[], $17::int8[], $18::${uuid}[], $19::text[]) p(key, position, event_id, reason)
      on conflict (projection, key) do update set position = excluded.position, event_id = excluded.event_id, reason = excluded.reason)
    select count(*)::int as moved from moved`
}
