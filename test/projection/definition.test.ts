import { aggregate, DefinitionError, type as typeOf } from 'headwater'
import { expect, test } from 'vitest'
import { z } from 'zod'
import { memory } from '../../src/adapters/memory/memory.ts'
import { memberTypes, publicSelect } from '../../src/projection/member-types.ts'
import { projection } from '../../src/projection/projection.ts'
import { keyOf, keyText } from '../../src/read-model/key-text.ts'
import { account } from '../support/ledger.ts'

const right = { from: [account], row: z.object({ n: z.int() }), on: { Opened: () => ({ n: 1 }) } }
const twin = aggregate('twin', { events: { Opened: typeOf<object>() }, initialState: () => ({}), evolve: { Opened: (state) => state } })

for (const [what, name, definition, message] of [
  ['a name that can be no table', 'Balances', {}, /1 to 40 of a-z/],
  ['no aggregate', 'x', { from: [] }, /names no aggregate/],
  ['two aggregates with one event', 'x', { from: [account, twin] }, /two of its aggregates have an event Opened/],
  ['no handler', 'x', { on: {} }, /handles no event/],
  ['a handler of nothing', 'x', { on: { Opend: () => null } }, /handles Opend, which none of its aggregates has; there is: Opened/],
  ['a handler that is no function', 'x', { on: { Opened: { n: 1 } } }, /no function/],
  ['a version that is none', 'x', { version: 0 }, /whole number from 1/],
  ['a mode that is none', 'x', { update: 'later' }, /"sync" or "async"/],
  ['sync in another store', 'x', { update: 'sync', store: memory() }, /cannot be "sync" in another store/],
  ['an index without members', 'x', { indexes: { a: [] } }, /names no member/],
  ['an index with a member twice', 'x', { indexes: { a: ['n', 'n'] } }, /twice/],
  ['an index over what the row does not have', 'x', { indexes: { a: ['m'] } }, /names m, which the row does not have/],
] as const) {
  test(`refuses ${what}`, () => {
    const define = () => projection(name, { ...right, ...definition } as never)
    expect(define).toThrow(DefinitionError)
    expect(define).toThrow(message)
  })
}

test('keys as texts, there and back', () => {
  for (const key of ['a', '{}', '{"a":1', '{"b":1,"a":2}', '[1]', ' ']) expect(keyOf(keyText(key))).toBe(key)
  expect(keyText({ b: 'x', a: 1 })).toBe('{"a":1,"b":"x"}')
  expect(keyOf(keyText({ b: 'x', a: 1 }))).toEqual({ a: 1, b: 'x' })
})

test('the public view has a column for each member that the schema can name', () => {
  const schema = z.object({
    owner: z.string(),
    n: z.int(),
    x: z.number().nullable(),
    ok: z.boolean(),
    list: z.array(z.int()),
    key: z.string(),
  })
  expect(memberTypes(schema)).toEqual([
    { name: 'owner', type: 'text' },
    { name: 'n', type: 'bigint' },
    { name: 'x', type: 'double precision' },
    { name: 'ok', type: 'boolean' },
    { name: 'list', type: 'jsonb' },
    { name: 'key', type: 'text' },
  ])
  expect(memberTypes(typeOf<{ n: number }>())).toEqual([])
  expect(publicSelect('s', 't', memberTypes(z.object({ "it's": z.string(), key: z.string() })))).toBe(
    `select key, row, (row ->> 'it''s')::text as "it's" from "s"."t"`,
  )
})
