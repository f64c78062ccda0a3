import { literal, quote } from '../database/identifier.ts'
import type { Schema } from '../message/schema.ts'

/** A member of a row, and what it is in SQL. */
export interface MemberType {
  readonly name: string
  readonly type: 'text' | 'boolean' | 'bigint' | 'double precision' | 'jsonb'
}

interface Described {
  readonly properties?: Readonly<Record<string, { readonly type?: unknown; readonly anyOf?: readonly { readonly type?: unknown }[] }>>
}

/** The members of a row, where the library of its schema can say (Standard JSON Schema); none where it cannot. */
export function memberTypes(schema: Schema): readonly MemberType[] {
  const standard = schema['~standard'] as { readonly jsonSchema?: { readonly output: (options: { readonly target: string }) => unknown } }
  try {
    const described = standard.jsonSchema?.output({ target: 'draft-2020-12' }) as Described | undefined
    return Object.entries(described?.properties ?? {}).map(([name, { type, anyOf }]) => ({
      name,
      type: sqlType(type ?? anyOf?.map((one) => one.type)),
    }))
  } catch {
    // A library may throw for what JSON Schema has no word for.
    return []
  }
}

const sqlTypes: Readonly<Record<string, MemberType['type']>> = {
  string: 'text',
  boolean: 'boolean',
  integer: 'bigint',
  number: 'double precision',
}

function sqlType(type: unknown): MemberType['type'] {
  const types = (Array.isArray(type) ? type : [type]).filter((one) => one !== 'null')
  return (types.length === 1 && sqlTypes[String(types[0])]) || 'jsonb'
}

/** The SELECT of the public view over a version's rows: `key`, `row`, and a column for each member that is known. */
export function publicSelect(schema: string, table: string, members: readonly MemberType[]): string {
  const columns = members
    .filter(({ name }) => name !== 'key' && name !== 'row' && name.length <= 63)
    .map(({ name, type }) => {
      const value = type === 'jsonb' ? `row -> ${literal(name)}` : `(row ->> ${literal(name)})::${type}`
      return `${value} as ${quote(name)}`
    })
  return `select ${['key', 'row', ...columns].join(', ')} from ${quote(schema)}.${quote(table)}`
}
