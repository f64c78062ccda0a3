import type { Sql } from '../database/sql.ts'
import type { Context } from '../message/command.ts'
import { checkMessageName } from '../message/name.ts'
import type { Query } from '../message/query.ts'
import type { OutputOf, Schema } from '../message/schema.ts'

type AnyReadModel = { readonly readModelName: string; readonly '~reader': unknown }
type Readers<Reads extends Readonly<Record<string, AnyReadModel>>> = { readonly [K in keyof Reads]: Reads[K]['~reader'] }

/**
 * Defines a query. It names the read models it reads; `execute` gets a reader for each, and `sql` for what they do not offer. Everything it
 * reads comes from one snapshot when the caller asks for a token, the latest or a bounded age.
 *
 * @example
 * export const timeline = query('timeline', {
 *   input: z.object({ before: z.string().optional(), limit: z.int().max(100).default(20) }),
 *   reads: { publishedPosts },
 *   execute: ({ before, limit }, { publishedPosts }) => publishedPosts.find({ orderBy: { published_at: 'desc' }, limit, after: before }),
 * })
 */
export function query<const Name extends string, Input extends Schema, Reads extends Readonly<Record<string, AnyReadModel>>, Result>(
  name: Name,
  definition: {
    readonly input: Input
    readonly reads: Reads
    readonly execute: (input: OutputOf<Input>, reads: Readers<Reads> & { readonly sql: Sql; readonly context: Context }) => Promise<Result>
  },
): Query<Name, Input, Result> {
  checkMessageName('query', name)
  return {
    queryName: name,
    input: definition.input,
    '~result': undefined as unknown as Result,
    '~reads': definition.reads,
    '~execute': definition.execute as (input: never, reads: never) => Promise<unknown>,
  }
}
