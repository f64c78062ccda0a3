import { quote } from '../database/identifier.ts'
import { lockClass } from '../database/migrate.ts'
import { looseType } from '../read-model/stored-table.ts'
import type { Analysis } from './analysis/select-analysis.ts'

/** The statements that keep one version of a view: stored beside it, run inside the database with every setting pinned. */
export interface ViewSql {
  readonly createTable: string
  /** $1: keys as text[]. Gives (written, deleted). */
  readonly refresh: string
  /** Creates the functions `bucket_<id>`, `lock_<id>` and `recompute_<id>`, whose plans a session keeps. */
  readonly functions: (id: number) => readonly string[]
  /** $1: view, $2: lane, $3: origin xid. Writes marks for every key of the SELECT and of the table. */
  readonly enqueue: string
  /** $1: keys, $2: view. Gives (checked, keys, kinds, waiting). */
  readonly difference: string
  /** $1: from (exclusive) and $2: to (inclusive), key texts or null, $3: view. The same. */
  readonly range: string
  /** For each source: $1: tuples of its map's parameters, $2: after this key, $3: at most so many keys. Null where the map is no SQL. */
  readonly expand: readonly (string | null)[]
}

interface Shape {
  readonly select: string
  readonly table: string
  readonly columns: readonly string[]
  readonly key: readonly { readonly column: string; readonly type: string }[]
}

export function viewSql(schema: string, table: string, analysis: Analysis): ViewSql {
  const shape = shapeOf(schema, table, analysis)
  return {
    createTable: createTable(shape, analysis),
    refresh: refresh(shape),
    functions: (id) => [bucketFunction(schema, shape, id), lockFunction(schema, id), recomputeFunction(schema, shape, id)],
    enqueue: enqueue(schema, shape),
    difference: difference(schema, shape),
    range: range(schema, shape),
    expand: analysis.sources.map((source) => (source.map.kind === 'sql' ? expand(shape, source.map) : null)),
  }
}

/** The same of a version whose rows are in another store: there is no table, and rows are handed out instead of written. */
export function storeSql(schema: string, analysis: Analysis): ViewSql {
  const shape = shapeOf(schema, '', analysis)
  return {
    createTable: '',
    refresh: '',
    functions: (id) => [
      keyFunction(schema, shape, id),
      rowsFunction(schema, shape, analysis, id, 'few'),
      rowsFunction(schema, shape, analysis, id, 'many'),
      keysFunction(schema, shape, id),
      boundsFunction(schema, shape, id),
    ],
    enqueue: enqueueKeys(schema, shape),
    difference: '',
    range: '',
    expand: analysis.sources.map((source) => (source.map.kind === 'sql' ? expand(shape, source.map) : null)),
  }
}

function shapeOf(schema: string, table: string, analysis: Analysis): Shape {
  return {
    select: analysis.select,
    table: `${quote(schema)}.${quote(table)}`,
    columns: analysis.columns.map(({ name }) => name),
    key: analysis.key,
  }
}

/** The names of the functions that a version has, with their parameters. */
export function functionNames(schema: string, id: number): readonly string[] {
  const names = [`bucket_${id}(text)`, `lock_${id}(text[])`, `recompute_${id}(text[])`]
  const ofStore = [
    `rows_few_${id}(text[], boolean)`,
    `rows_many_${id}(text[], boolean)`,
    `keys_${id}(text, text)`,
    `bounds_${id}(integer)`,
    `key_${id}(text)`,
  ]
  return [...names, ...ofStore].map((name) => `${quote(schema)}.${name}`)
}

/** Room on each page lets an update stay on it and leave the indexes alone. */
function createTable({ table, key }: Shape, analysis: Analysis): string {
  const columns = analysis.columns.map(({ name, type }) => `${quote(name)} ${type}`)
  return `create table ${table} (${columns.join(', ')}, primary key (${key.map(({ column }) => quote(column)).join(', ')})) with (fillfactor = 80)`
}

/** The text of a key: the column's own, or a JSON array of texts. */
function keyText({ key }: Shape, row: string): string {
  const texts = key.map(({ column }) => `${row}.${quote(column)}::text`)
  return texts.length === 1 ? (texts[0] ?? '') : `jsonb_build_array(${texts.join(', ')})::text`
}

function keyNotNull({ key }: Shape, row: string): string {
  return key.map(({ column }) => `${row}.${quote(column)} is not null`).join(' and ')
}

/** A text as the i-th column of a key. */
function keyValue({ key }: Shape, text: string, i: number): string {
  const type = key[i]?.type
  return key.length === 1 ? `(${text})::${type}` : `((${text})::jsonb ->> ${i})::${type}`
}

const keyNames = ({ key }: Shape, row: string) => key.map(({ column }) => `${row}.${quote(column)}`).join(', ')

/**
 * The condition that picks the rows of `keys` (an expression of type text[]). For several columns the first conditions let an index and an
 * aggregate's grouping be used, the last makes it exact.
 */
function amongKeys(shape: Shape, row: string, keys: string): string {
  const { key } = shape
  const first = key[0]
  if (key.length === 1 && first) return `${row}.${quote(first.column)} = any (${keys}::text[]::${first.type}[])`
  const columns = key.map(
    ({ column }, i) => `${row}.${quote(column)} = any (array(select ${keyValue(shape, 'k', i)} from unnest(${keys}::text[]) k))`,
  )
  const tuples = `(${keyNames(shape, row)}) in (select ${key.map((_column, i) => keyValue(shape, 'k', i)).join(', ')} from unnest(${keys}::text[]) k)`
  return [...columns, tuples].join(' and ')
}

const sameKey = ({ key }: Shape, a: string, b: string) =>
  key.map(({ column }) => `${a}.${quote(column)} = ${b}.${quote(column)}`).join(' and ')

/** Byte by byte: it works for every type, and sees 1.0 become 1.00. */
function differs({ columns }: Shape, a: string, b: string): string {
  const image = (row: string) => `row(${columns.map((column) => `${row}.${quote(column)}`).join(', ')})::record`
  return `${image(a)} operator(pg_catalog.*<>) ${image(b)}`
}

function refresh(shape: Shape): string {
  const { select, table, columns, key } = shape
  const names = columns.map(quote).join(', ')
  // Key columns too: equal keys may still differ in their text (1.0 and 1.00).
  const values = columns.map((column) => `${quote(column)} = excluded.${quote(column)}`).join(', ')
  const missing = `t.${quote(key[0]?.column ?? '')} is null`
  return `with q as materialized (select q.* from (${select}) q where ${amongKeys(shape, 'q', '$1')}),
  changed as (select q.* from q left join ${table} t on ${sameKey(shape, 't', 'q')} where ${missing} or ${differs(shape, 'q', 't')}),
  up as (insert into ${table} (${names}) select ${names} from changed
    on conflict (${key.map(({ column }) => quote(column)).join(', ')}) do update set ${values} returning 1),
  gone as (delete from ${table} t where ${amongKeys(shape, 't', '$1')} and not exists (select from q where ${sameKey(shape, 'q', 't')}) returning 1)
  select (select count(*) from up)::integer, (select count(*) from gone)::integer`
}

/** The bucket of a key: by the hash of its value, not of its text, since equal keys may differ in their text. */
function bucketFunction(schema: string, shape: Shape, id: number): string {
  const values = shape.key.map((_column, i) => keyValue(shape, '$1', i)).join(', ')
  return `create or replace function ${quote(schema)}.bucket_${id}(text) returns integer language sql stable
as $body$ select (hash_record_extended(row(${values})::record, 0) & 511)::integer $body$`
}

/** Takes the locks of the keys' buckets, ascending, so that no two transactions wait for each other. */
function lockFunction(schema: string, id: number): string {
  return `create or replace function ${quote(schema)}.lock_${id}(text[]) returns void
language plpgsql volatile set plan_cache_mode = force_generic_plan as $body$
begin
  perform pg_advisory_xact_lock(${lockClass(schema)}, ${id * 512} + b)
  from (select distinct ${quote(schema)}.bucket_${id}(k) as b from unnest($1) k order by 1) s;
end $body$`
}

/** Few keys, often: the plan is kept, and goes by the indexes whatever the statistics said when it was made. */
function recomputeFunction(schema: string, shape: Shape, id: number): string {
  const body = refresh(shape).replace(
    /^(\s*select \(select count\(\*\) from up\)::integer, \(select count\(\*\) from gone\)::integer)$/m,
    '$1 into hw_written, hw_deleted',
  )
  return `create or replace function ${quote(schema)}.recompute_${id}(text[], out hw_seen pg_snapshot, out hw_written integer, out hw_deleted integer)
language plpgsql volatile set enable_seqscan = off set plan_cache_mode = force_generic_plan as $body$
#variable_conflict use_column
begin
  perform ${quote(schema)}.lock_${id}($1);
  hw_seen := pg_current_snapshot();
  ${body};
end $body$`
}

function enqueue(schema: string, shape: Shape): string {
  const keys = (from: string, row: string) => `select ${keyNames(shape, row)} from ${from} ${row} where ${keyNotNull(shape, row)}`
  return `insert into ${quote(schema)}.mark (view, lane, xid, map, keys)
  select $1, $2, $3, 0, array_agg(k order by n) from (
    select ${keyText(shape, 's')} as k, row_number() over (order by ${keyNames(shape, 's')}) as n from (${keys(`(${shape.select})`, 'q')} union ${keys(shape.table, 't')}) s) s
  group by (n - 1) / 500`
}

function enqueueKeys(schema: string, shape: Shape): string {
  return `insert into ${quote(schema)}.mark (view, lane, xid, map, keys)
  select $1, $2, $3, 0, array_agg(k order by n) from (
    select ${canonicalText(shape, 'q')} as k, row_number() over (order by ${keyNames(shape, 'q')}) as n from (${shape.select}) q where ${keyNotNull(shape, 'q')}) s
  group by (n - 1) / 500`
}

/** One text for equal values: a store knows keys by their text. */
function canonicalColumn({ type }: Shape['key'][number], value: string): string {
  return looseType(type) === 'numeric' ? `trim_scale(${value})::text` : `${value}::text`
}

function canonicalText({ key }: Shape, row: string): string {
  const texts = key.map((part) => canonicalColumn(part, `${row}.${quote(part.column)}`))
  return texts.length === 1 ? (texts[0] ?? '') : `jsonb_build_array(${texts.join(', ')})::text`
}

const pins = `set search_path = pg_catalog, pg_temp set row_security = off set timezone = 'UTC' set datestyle = 'ISO, MDY' set intervalstyle = 'postgres'
set extra_float_digits = 1 set bytea_output = 'hex' set default_text_search_config = 'pg_catalog.english' set jit = off`

/** The text of a key as a store has it, of any text of the key. Runs inside functions that pin the settings. */
function keyFunction(schema: string, shape: Shape, id: number): string {
  const texts = shape.key.map((part, i) => canonicalColumn(part, `(${keyValue(shape, '$1', i)})`))
  const whole = texts.length === 1 ? texts[0] : `jsonb_build_array(${texts.join(', ')})::text`
  return `create or replace function ${quote(schema)}.key_${id}(text) returns text language sql stable as $body$ select ${whole} $body$`
}

/**
 * The rows of some keys in one snapshot: for each key its text, whether there is a row, and, if asked, whether a mark or a parked key may explain what
 * a store has instead; then the row. Few keys have a plan that is kept, many are planned for.
 */
function rowsFunction(schema: string, shape: Shape, analysis: Analysis, id: number, size: 'few' | 'many'): string {
  const s = quote(schema)
  const columns = analysis.columns.map(({ name, type }) => `${quote(name)} ${type}`)
  const waiting = `case when $2 then exists (select from ${s}.mark m where m.view = ${id} and (m.map <> 0 or exists (select from unnest(m.keys) u where ${s}.key_${id}(u) = c.k)))
      or exists (select from ${s}.parked p where p.view = ${id} and p.key = c.k) else false end`
  const body = `with q as materialized (select q.*, ${canonicalText(shape, 'q')} as "headwater text" from (${shape.select}) q where ${amongKeys(shape, 'q', '$1')})
    select c.k, q."headwater text" is not null, ${waiting}, ${shape.columns.map((column) => `q.${quote(column)}`).join(', ')}
    from (select distinct ${s}.key_${id}(u) as k from unnest($1) u) c left join q on q."headwater text" = c.k`
  const plan = size === 'few' ? ' set enable_seqscan = off set plan_cache_mode = force_generic_plan' : ''
  const run = size === 'few' ? `return query ${body};` : `return query execute $query$${body}$query$ using $1, $2;`
  return `create or replace function ${s}.rows_${size}_${id}(text[], boolean)
returns table ("headwater key" text, "headwater found" boolean, "headwater waiting" boolean, ${columns.join(', ')})
language plpgsql volatile security definer ${pins}${plan} as $body$
#variable_conflict use_column
begin
  ${run}
end $body$`
}

/** The keys of the SELECT in a range (lo, hi]; null: no bound. */
function keysFunction(schema: string, shape: Shape, id: number): string {
  const bound = (text: string) => `row(${shape.key.map((_column, i) => keyValue(shape, text, i)).join(', ')})`
  const tuple = `row(${keyNames(shape, 'q')})`
  return `create or replace function ${quote(schema)}.keys_${id}(text, text) returns setof text language plpgsql volatile security definer ${pins} as $body$
begin
  return query execute $query$select ${canonicalText(shape, 'q')} from (${shape.select}) q where ${keyNotNull(shape, 'q')}
    and ($1 is null or ${tuple} > ${bound('$1')}) and ($2 is null or ${tuple} <= ${bound('$2')})$query$ using $1, $2;
end $body$`
}

/** Every so-manieth key of the SELECT, in order. */
function boundsFunction(schema: string, shape: Shape, id: number): string {
  return `create or replace function ${quote(schema)}.bounds_${id}(integer) returns setof text language plpgsql volatile security definer ${pins} as $body$
begin
  return query execute $query$select s.k from (select ${canonicalText(shape, 'q')} as k, row_number() over (order by ${keyNames(shape, 'q')}) as n
    from (${shape.select}) q where ${keyNotNull(shape, 'q')}) s where s.n % $1 = 0 order by s.n$query$ using $1;
end $body$`
}

function compare(schema: string, shape: Shape, view: string, condition: (row: string) => string): string {
  const key = keyText(shape, 'q')
  const missing = `t.${quote(shape.key[0]?.column ?? '')} is null`
  const surplus = `q.${quote(shape.key[0]?.column ?? '')} is null`
  return `with q as materialized (select q.* from (${shape.select}) q where ${keyNotNull(shape, 'q')} and ${condition('q')}),
  t as materialized (select t.* from ${shape.table} t where ${condition('t')}),
  d as (select coalesce(${key}, ${keyText(shape, 't')}) as key, case when ${missing} then 'missing' when ${surplus} then 'surplus' else 'different' end as kind
    from q full join t on ${sameKey(shape, 'q', 't')} where ${missing} or ${surplus} or ${differs(shape, 'q', 't')}),
  w as (select d.*, exists (select from ${quote(schema)}.mark m where m.view = ${view} and (m.map <> 0 or d.key = any (m.keys)))
    or exists (select from ${quote(schema)}.parked p where p.view = ${view} and p.key = d.key) as waiting from d)
  select (select count(*) from (select ${keyNames(shape, 'q')} from q union select ${keyNames(shape, 't')} from t) s),
    coalesce(array_agg(w.key order by w.key), '{}'), coalesce(array_agg(w.kind order by w.key), '{}'), coalesce(array_agg(w.waiting order by w.key), '{}') from w`
}

function difference(schema: string, shape: Shape): string {
  return compare(schema, shape, '$2', (row) => amongKeys(shape, row, '$1'))
}

function range(schema: string, shape: Shape): string {
  const bound = (text: string) => `row(${shape.key.map((_column, i) => keyValue(shape, `${text}::text`, i)).join(', ')})`
  return compare(schema, shape, '$3', (row) => {
    const tuple = `row(${keyNames(shape, row)})`
    return `($1::text is null or ${tuple} > ${bound('$1')}) and ($2::text is null or ${tuple} <= ${bound('$2')})`
  })
}

function expand(
  shape: Shape,
  map: { readonly sql: string; readonly params: readonly { readonly column: string; readonly type: string }[] },
): string {
  const params = map.params.map(({ type }, i) => `${map.params.length === 1 ? 'v' : `(v::jsonb ->> ${i})`}::${type} as p${i + 1}`)
  const names = shape.key.map(({ column }) => quote(column)).join(', ')
  return `select array_agg(s.k order by s.k) from (
    select distinct ${keyText(shape, 'q')} collate "C" as k
    from (select ${params.join(', ')} from unnest($1::text[]) v) ${parameters} cross join lateral (${withParameters(map.sql)}) q(${names})
    where ${keyNotNull(shape, 'q')} and ($2::text is null or ${keyText(shape, 'q')} collate "C" > $2::text)
    order by 1 limit $3) s`
}

/** A name that no map uses for a table of its own. */
const parameters = '"headwater parameters"'

/** `$1` of a map becomes `"headwater parameters".p1`, the column that holds the parameter; constants and quoted names are left alone. */
export function withParameters(sql: string): string {
  return sql.replaceAll(/E?'(?:[^'\\]|\\.|'')*'|"(?:[^"]|"")*"|\$(\d+)/g, (text, number: string | undefined) =>
    number === undefined ? text : `${parameters}.p${number}`,
  )
}
