import type { Rejection } from '../errors.ts'
import type { TableCommand, TableContext } from '../message/command.ts'
import { checkMessageName } from '../message/name.ts'
import type { InputOf, OutputOf, Schema } from '../message/schema.ts'

/**
 * Defines a command over ordinary tables. `execute` runs in one transaction (READ COMMITTED): what it writes is committed as a whole when
 * it resolves, and nothing is when it throws or refuses with `reject()`. After a serialization failure or deadlock it is run again, so it
 * must have no effect outside the database.
 *
 * @example
 * export const renameUser = command('renameUser', {
 *   input: z.object({ userId: z.uuid(), name: z.string().min(1) }),
 *   async execute({ userId, name }, { sql }) {
 *     const changed = await sql`update users set name = ${name} where id = ${userId} returning 1`
 *     if (changed.length === 0) throw reject('unknown_user', { userId })
 *   },
 * })
 */
export function command<const Name extends string, Input extends Schema, Result = void>(
  name: Name,
  definition: {
    readonly input: Input
    readonly execute: (input: OutputOf<Input>, context: TableContext) => Promise<Result | Rejection>
  },
): TableCommand<Name, Input, Exclude<Result, Rejection>> {
  checkMessageName('command', name)
  return Object.assign((input: InputOf<Input>) => ({ command: name, input }), {
    commandName: name,
    input: definition.input,
    '~result': undefined as unknown as Exclude<Result, Rejection>,
    '~kind': 'tables' as const,
    '~execute': definition.execute,
  })
}
