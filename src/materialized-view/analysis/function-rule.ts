import { nodeAt, numberAt, type TreeNode } from './node-tree.ts'
import type { Refusal } from './refusal.ts'
import type { FunctionFact } from './select-catalog.ts'

/**
 * Why `fact` may not be used where a row must depend on nothing but the tables read, or undefined. Volatility cannot tell: `now()` and
 * `to_char()` are both STABLE. So the built-in functions that read the clock, the session, the server or the catalogue are listed here.
 * `vouched`: the definition's `reads` speaks for functions that nobody can look into.
 */
export function functionRefusal(fact: FunctionFact, place: string, vouched: boolean): Refusal | undefined {
  const subject = fact.signature
  if (fact.volatility === 'v') {
    const own = fact.system ? 'leave it out' : 'declare it STABLE or IMMUTABLE if that is what it is, or leave it out'
    return {
      code: 'volatile_function',
      subject,
      message: `${place} calls ${subject}, which is VOLATILE: it may answer differently each time, so a row could not be computed again; ${own}`,
    }
  }
  if (fact.system) return readsMoreThanTables(fact) ? environmentRefusal(subject, place) : undefined
  if (fact.body || vouched || (fact.ofExtension && fact.volatility === 'i')) return undefined
  return {
    code: 'opaque_function',
    subject,
    message:
      `${place} calls ${subject}, into which PostgreSQL cannot look, so the tables that it reads are not known; write its body as ` +
      'BEGIN ATOMIC, or name those tables in "reads" (a table that the SELECT reads anyway will do if it reads none)',
  }
}

/** The same for the keywords that stand for a function: `current_date`, `current_user`, ... */
export function keywordRefusal(node: TreeNode, place: string): Refusal {
  return environmentRefusal(keywords[numberAt(node, 'op')] ?? 'a keyword that asks for the time or the user', place)
}

function environmentRefusal(subject: string, place: string): Refusal {
  return {
    code: 'reads_environment',
    subject,
    message:
      `${place} uses ${subject}, which depends on the time, the session or the server and not on the tables alone; keep such a value in ` +
      'a column, or apply it in the query that reads this view',
  }
}

const keywords = [
  'current_date',
  'current_time',
  'current_time',
  'current_timestamp',
  'current_timestamp',
  'localtime',
  'localtime',
  'localtimestamp',
  'localtimestamp',
  'current_role',
  'current_user',
  'user',
  'session_user',
  'current_catalog',
  'current_schema',
]

function readsMoreThanTables({ name, arguments: count }: FunctionFact): boolean {
  if (name === 'age') return count === 1
  if (harmless.has(name) || name.startsWith('pg_lsn')) return false
  return environment.has(name) || environmentPatterns.some((pattern) => pattern.test(name))
}

/** `pg_...` functions that look at their arguments alone. */
const harmless = new Set(['pg_typeof', 'pg_size_pretty', 'pg_size_bytes', 'pg_collation_for', 'pg_input_is_valid', 'pg_input_error_info'])

const environment = new Set([
  'now',
  'transaction_timestamp',
  'statement_timestamp',
  'clock_timestamp',
  'timeofday',
  'current_setting',
  'set_config',
  'current_schema',
  'current_schemas',
  'current_database',
  'current_query',
  'current_user',
  'session_user',
  'getpgusername',
  'getdatabaseencoding',
  'version',
  'row_security_active',
  'random',
  'random_normal',
  'setseed',
  'gen_random_uuid',
  'uuidv4',
  'uuidv7',
  'nextval',
  'currval',
  'lastval',
  'setval',
  'obj_description',
  'col_description',
  'shobj_description',
  'format_type',
  'mxid_age',
  'ts_stat',
  'regclass',
  'regconfigin',
  'regdictionaryin',
  'lo_get',
  'loread',
])

const environmentPatterns = [
  /^pg_/,
  /^txid_/,
  /^inet_(client|server)_/,
  /^has_.*_privilege$/,
  /^to_reg/,
  /^reg(class|proc|procedure|oper|operator|type|role|namespace|collation|database)(in|out)$/,
  /^(query|table|schema|database|cursor)_to_xml/,
]

/** Texts that PostgreSQL takes for the time of reading when they become a date or a time. */
const momentText = /^\s*(now|today|tomorrow|yesterday)(\s+\S+)*\s*$/i
const commentsAndStrings = /--[^\n]*|\/\*[\s\S]*?\*\/|"[^"]*"|'(?:[^']|'')*'/g

/**
 * The string constants of `source` that say `now` or the like and are gone from the text that PostgreSQL made of it: they became the time
 * at which the view was defined, and would become another at each start.
 */
export function frozenMoments(source: string, canonical: string): readonly string[] {
  const constants = (source.match(commentsAndStrings) ?? []).filter((part) => part.startsWith("'") && momentText.test(part.slice(1, -1)))
  return [...new Set(constants)].filter((constant) => !canonical.includes(constant))
}

const dateAndTimeTypes = new Set([1082, 1083, 1114, 1184, 1266])

/** Whether a cast by way of text makes a date or a time of such a constant. */
export function isMomentCast(node: TreeNode): boolean {
  if (node.type !== 'COERCEVIAIO' || !dateAndTimeTypes.has(numberAt(node, 'resulttype'))) return false
  const bytes = nodeAt(node, 'arg')?.fields.get('constvalue')
  if (!Array.isArray(bytes)) return false
  const text = Buffer.from(bytes.map((byte) => Number(byte) & 255)).toString('utf8')
  return momentText.test(text.slice(4)) || momentText.test(text.slice(1))
}

/** The refusal for both. */
export function momentRefusal(subject: string, place: string): Refusal {
  return environmentRefusal(`the constant ${subject}`, place)
}
