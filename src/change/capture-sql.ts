import { quote } from '../database/identifier.ts'

/** What one view wants to know of a table's changes. */
export interface Watch {
  readonly view: number
  readonly sync: boolean
  /** 0: `columns` hold the view's key; above: they are the parameters of that map; -1: any change touches every key. */
  readonly map: number
  readonly columns: readonly string[]
  /** The columns whose change matters; null: all. */
  readonly reads: readonly string[] | null
}

export type ChangeEvent = 'insert' | 'update' | 'delete' | 'truncate'

export interface CaptureFunction {
  readonly event: ChangeEvent
  /** Quoted and qualified. */
  readonly name: string
  readonly sql: string
}

interface Capture {
  readonly schema: string
  readonly relation: number
  readonly watches: readonly Watch[]
  readonly primaryKey: readonly string[]
  /** The text of the key columns does not depend on session settings. */
  readonly plain: boolean
}

/**
 * The trigger functions of one table: one for each kind of statement, writing one mark for each view that the statement touches. They run
 * as Headwater's role, whoever writes, and never make a statement fail: what cannot be read (a column that was renamed) leaves a `broken`
 * mark, with which the view stops.
 */
export function captureFunctions(capture: Capture): readonly CaptureFunction[] {
  const events: readonly ChangeEvent[] = ['insert', 'update', 'delete', 'truncate']
  return events.map((event) => {
    const name = `${quote(capture.schema)}.${quote(`capture_${capture.relation}_${event}`)}`
    return { event, name, sql: captureFunction(capture, event, name) }
  })
}

function captureFunction(capture: Capture, event: ChangeEvent, name: string): string {
  const { schema, watches, plain } = capture
  const variables = watches.map((_watch, i) => `k${i}`)
  const pins = plain
    ? ''
    : ` set timezone = 'UTC' set datestyle = 'ISO, MDY' set intervalstyle = 'postgres' set extra_float_digits = 1 set bytea_output = 'hex'`
  const marks = watches.map(({ view, map }, i) => `(${view}, ${event === 'truncate' ? -1 : map}, k${i})`).join(', ')
  const touched = (of: (watch: Watch) => boolean) => watches.flatMap((watch, i) => (of(watch) ? [`k${i} is not null`] : [])).join(' or ')
  const fanOut = touched(({ map }) => map !== 0)
  const sync = touched((watch) => watch.sync)
  return `create or replace function ${name}() returns trigger language plpgsql security definer set search_path = pg_catalog, pg_temp${pins} as $capture$
declare
  ${variables.map((variable) => `${variable} text[];`).join(' ')} n bigint;
begin
  begin
    ${readKeys(capture, event, variables)}
  exception when others then
    insert into ${quote(schema)}.mark (view, lane, map, keys)
    select w, 0, -2, array[tg_table_schema || '.' || tg_table_name || ': ' || sqlerrm] from unnest(array[${watches.map(({ view }) => view).join(', ')}]) w;
    return null;
  end;
  insert into ${quote(schema)}.mark (view, lane, map, keys)
  select w.view, case when w.map < 0 or cardinality(w.keys) > 16 then 1 else 0 end, w.map, w.keys from (values ${marks}) w(view, map, keys) where w.keys is not null;
  ${fanOut ? `if ${fanOut} then perform set_config('headwater.fan_out', '1', true); end if;` : ''}
  ${sync ? `if ${sync} then insert into ${quote(schema)}.due default values on conflict do nothing; end if;` : ''}
  return null;
end $capture$`
}

function readKeys(capture: Capture, event: ChangeEvent, variables: readonly string[]): string {
  const { watches, primaryKey } = capture
  const into = variables.join(', ')
  if (event === 'insert') return `select ${aggregates(watches)} into ${into} from new_rows r;`
  if (event === 'delete') return `select ${aggregates(watches)} into ${into} from old_rows r;`
  if (event === 'truncate') return variables.map((variable) => `${variable} := '{}';`).join(' ')
  if (primaryKey.length === 0)
    return `select ${aggregates(watches)} into ${into} from (select * from old_rows union all select * from new_rows) r;`
  // One row is the common case: a plan that never changes. Several rows are planned afresh, since a kept plan would be a nested loop.
  return `select ${watches.map(oneRow).join(', ')}, (select count(*) from (select from new_rows limit 2) c) into ${into}, n
    from (select * from old_rows limit 1) o cross join (select * from new_rows limit 1) n;
    if n > 1 then
      execute $several$${severalRows(watches, primaryKey)}$several$ into ${into};
    end if;`
}

/** The text by which a tuple of columns travels: the column's own text, or a JSON array of texts. Null when a view's key would be null. */
function tuple(row: string, { columns, map }: Watch): string {
  const [first, ...others] = columns.map((column) => `${row}.${quote(column)}::text`)
  if (first === undefined) return `''`
  if (others.length === 0) return first
  const whole = `jsonb_build_array(${[first, ...others].join(', ')})::text`
  return map === 0 ? `case when num_nulls(${[first, ...others].join(', ')}) = 0 then ${whole} end` : whole
}

function aggregates(watches: readonly Watch[]): string {
  return watches
    .map((watch) =>
      watch.map === -1
        ? `case when count(*) > 0 then '{}'::text[] end`
        : `array_agg(distinct ${collated(tuple('r', watch))}) filter (where ${tuple('r', watch)} is not null)`,
    )
    .join(', ')
}

const collated = (text: string) => `(${text}) collate "C"`

/** Whether anything that matters differs between the images. Compared byte by byte: it works for every type, and sees 1.0 become 1.00. */
function changed(watch: Watch): string {
  if (watch.reads === null) return 'row(o.*)::record operator(pg_catalog.*<>) row(n.*)::record'
  const columns = [...new Set([...watch.reads, ...watch.columns])].map(quote)
  if (columns.length === 0) return 'false'
  const image = (row: string) => `row(${columns.map((column) => `${row}.${column}`).join(', ')})::record`
  return `${image('o')} operator(pg_catalog.*<>) ${image('n')}`
}

function oneRow(watch: Watch): string {
  if (watch.map === -1) return `case when ${changed(watch)} then '{}'::text[] end`
  const [before, after] = [tuple('o', watch), tuple('n', watch)]
  return `case when ${changed(watch)} then nullif(case when ${before} = ${after} then array[${after}] else array_remove(array[${before}, ${after}], null) end, '{}') end`
}

/** Rows are paired by their primary key; one that has no partner had its key changed, and both its images count. */
function severalRows(watches: readonly Watch[], primaryKey: readonly string[]): string {
  const identity = (row: string) => tuple(row, { view: 0, sync: false, map: 0, columns: primaryKey, reads: null })
  const inner = watches.map(
    (watch, i) =>
      `o.i is null or n.i is null or ${changed(watch)} as c${i}, case when o.i is not null then ${tuple('o', watch)} end as o${i}, case when n.i is not null then ${tuple('n', watch)} end as n${i}`,
  )
  const outer = watches.map((watch, i) =>
    watch.map === -1
      ? `case when bool_or(c${i}) then '{}'::text[] end`
      : `nullif(coalesce(array_agg(distinct o${i} collate "C") filter (where c${i} and o${i} is not null), '{}')
         || coalesce(array_agg(distinct n${i} collate "C") filter (where c${i} and n${i} is not null and n${i} is distinct from o${i}), '{}'), '{}')`,
  )
  return `select ${outer.join(', ')} from (select ${inner.join(', ')}
    from (select *, ${identity('r')} as i from old_rows r) o full join (select *, ${identity('r')} as i from new_rows r) n on o.i = n.i) x`
}
