import { DefinitionError } from '../errors.ts'

const table = Symbol.for('headwater.table')

/** Something that names a table in the `sql` template: `sql\`select * from ${publishedPosts}\``. */
export interface Table {
  readonly [table]: true
  /** The quoted, qualified name as it stands now. */
  toSql(): string
}

/** Gives an object the ability to stand for a table in the `sql` template. */
export function tableOf(toSql: () => string): Table {
  return { [table]: true, toSql }
}

export function isTable(value: unknown): value is Table {
  return typeof value === 'object' && value !== null && table in value
}

/** `name` as a quoted SQL identifier. */
export function quote(name: string): string {
  return `"${name.replaceAll('"', '""')}"`
}

/** `text` as an SQL string constant. */
export function literal(text: string): string {
  return text.includes('\\') ? ` E'${text.replaceAll('\\', '\\\\').replaceAll("'", "''")}'` : `'${text.replaceAll("'", "''")}'`
}

/**
 * Refuses a name that cannot become part of a table's name: PostgreSQL cuts identifiers at 63 bytes without an error, so that two
 * versions of one table would become the same.
 */
export function checkName(kind: string, name: string): void {
  if (!/^[a-z][a-z0-9_]{0,39}$/.test(name)) {
    throw new DefinitionError(`${kind} ${JSON.stringify(name)}: a name has 1 to 40 of a-z, 0-9 and _, and begins with a letter`)
  }
}
