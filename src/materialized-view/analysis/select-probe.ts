import type { Transaction } from '../../database/database.ts'
import { quote } from '../../database/identifier.ts'
import { DatabaseError, type DefinitionError } from '../../errors.ts'
import type { TreeNode } from './node-tree.ts'
import { refused } from './refusal.ts'
import { bodyOf } from './select-catalog.ts'
import { attempt } from './undo.ts'

export interface OutputColumn {
  readonly name: string
  readonly type: string
  readonly collatable: boolean
}

/** What PostgreSQL made of a SELECT. */
export interface SelectProbe {
  /** Its own text, in which every name is qualified. */
  readonly canonical: string
  readonly columns: readonly OutputColumn[]
  readonly query: TreeNode
}

/**
 * Makes a view `name` (qualified) of the SELECT under the search path as it is, and reads back what it says. Leaves the search path empty.
 * @throws {DefinitionError} when PostgreSQL does not accept it, with PostgreSQL's own words
 */
export async function probeSelect(client: Transaction, view: string, schema: string, name: string, select: string): Promise<SelectProbe> {
  const { rows: schemas } = await client.query('select from pg_namespace where nspname = $1', [schema])
  if (schemas.length === 0) await client.query(`create schema ${quote(schema)}`)
  const before = `create view ${name} as (\n`
  const made = await attempt(client, () => client.query(`${before}${select.replace(/[;\s]+$/, '')}\n)`))
  if (made instanceof DatabaseError) throw await notAView(client, view, select, made, before.length)
  await client.query(`select set_config('search_path', '', true)`)
  const { rows } = await client.query<{ text: string; tree: string }>(`
    select pg_get_viewdef(r.ev_class) as text, r.ev_action::text as tree from pg_rewrite r where r.ev_class = ${regclass(name)}`)
  const { rows: columns } = await client.query<OutputColumn>(`
    select attname as name, format_type(atttypid, atttypmod) as type, attcollation <> 0 as collatable
    from pg_attribute where attrelid = ${regclass(name)} and attnum > 0 order by attnum`)
  const [query] = bodyOf(rows[0]?.tree ?? '()')
  if (!query) throw new Error(`the rule of ${name} holds no query`)
  return { canonical: (rows[0]?.text ?? '').trim().replace(/;$/, ''), columns, query }
}

function regclass(name: string): string {
  return `'${name.replaceAll("'", "''")}'::regclass`
}

async function notAView(client: Transaction, view: string, select: string, error: DatabaseError, shift: number): Promise<DefinitionError> {
  const says = (code: string, subject: string, message: string) => refused(view, [{ code, subject, message }], error)
  const temporary = error.sqlState === '42P16' ? await temporaryTables(client, select) : []
  if (temporary.length > 0) {
    const names = temporary.join(', ')
    return says(
      'temporary_table',
      names,
      `the SELECT reads ${names}, a temporary table, which other sessions cannot see; make it permanent`,
    )
  }
  const at = positionOf(error)
  const offset = at === undefined ? undefined : at - shift
  const message = `the SELECT is not accepted${offset === undefined ? '' : ` at ${lineAndColumn(select, offset)}`}: ${error.message}`
  if (error.sqlState === '42701') return says('duplicate_column', 'select', `${message}; give each column a name of its own`)
  if (error.sqlState === '42P01') return says('unknown_table', 'select', message)
  const several = error.sqlState === '42601' && /;\s*\S/.test(select)
  return several ? says('several_statements', 'select', `${message}; write one SELECT`) : says('not_parsed', 'select', message)
}

async function temporaryTables(client: Transaction, select: string): Promise<readonly string[]> {
  const { rows } = await client.query<{ name: string }>(
    `select relname as name from pg_class where relnamespace = pg_my_temp_schema() and relkind in ('r', 'p', 'v') order by relname`,
  )
  return rows.map(({ name }) => name).filter((name) => select.toLowerCase().includes(name.toLowerCase()))
}

/** Where in the statement PostgreSQL saw the error, counted from 1, when the driver hands it over. */
function positionOf(error: unknown): number | undefined {
  if (typeof error !== 'object' || error === null) return undefined
  if ('position' in error && Number(error.position) > 0) return Number(error.position)
  return 'cause' in error ? positionOf(error.cause) : undefined
}

function lineAndColumn(text: string, position: number): string {
  const before = [...text]
    .slice(0, Math.max(0, position - 1))
    .join('')
    .split('\n')
  return `line ${before.length}, column ${(before.at(-1)?.length ?? 0) + 1}`
}
