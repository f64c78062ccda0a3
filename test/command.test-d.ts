import { type Command, type CommandMessage, command, type Rejection, reject } from 'headwater'
import { expectTypeOf, test } from 'vitest'
import { z } from 'zod'
import type { executeCommand } from '../src/command/execute-command.ts'

const publish = command('publish', {
  input: z.object({ id: z.string(), limit: z.int().default(20) }),
  async execute(input) {
    expectTypeOf(input).toEqualTypeOf<{ id: string; limit: number }>()
    if (input.limit > 100) return reject('too_many', { most: 100 })
    return { published: input.id }
  },
})

test('a command carries its name, input and result; the refusal is not part of the result', () => {
  expectTypeOf(publish.commandName).toEqualTypeOf<'publish'>()
  expectTypeOf(publish['~result']).toEqualTypeOf<{ published: string }>()
  expectTypeOf(publish({ id: 'a' })).toEqualTypeOf<CommandMessage<'publish'>>()
  // @ts-expect-error the input has an id
  publish({})
})

test('a command that resolves to nothing has a void result', () => {
  const touch = command('touch', { input: z.object({}), async execute() {} })
  expectTypeOf(touch['~result']).toEqualTypeOf<void>()
})

test('a command that only refuses or resolves to nothing keeps the refusal out of its result', () => {
  const rename = command('rename', {
    input: z.object({ name: z.string() }),
    async execute({ name }, { sql }) {
      const rows = await sql<{ id: number }>`update users set name = ${name} returning id`
      expectTypeOf(rows).toEqualTypeOf<readonly { id: number }[]>()
      if (rows.length === 0) return reject('unknown_user')
    },
  })
  expectTypeOf(rename['~result']).toEqualTypeOf<undefined>()
})

test('any command may be carried out, whatever its input', () => {
  expectTypeOf(publish).toExtend<Parameters<typeof executeCommand>[1]>()
  expectTypeOf(publish).toExtend<Pick<Command, 'commandName'>>()
  expectTypeOf(reject('a_code')).toEqualTypeOf<Rejection<'a_code'>>()
})
