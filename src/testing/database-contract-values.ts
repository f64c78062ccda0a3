import assert from 'node:assert/strict'
import type { Check } from './contract-case.ts'
import { rejects, withTable } from './contract-case.ts'

/** An SQL expression and the value that a row must hold for it. */
type Expected = readonly (readonly [expression: string, value: unknown])[]

/** What `Row` promises of each type. */
const types: Readonly<Record<string, Expected>> = {
  'whole numbers': [
    ['32767::int2', 32767],
    ['(-2147483648)::int4', -2147483648],
    ['9007199254740991::int8', 9007199254740991],
    ['(-9007199254740991)::int8', -9007199254740991],
    ['count(*)', 1],
  ],
  numeric: [
    ['1.50::numeric', '1.50'],
    ['12345678901234567890.123456789::numeric', '12345678901234567890.123456789'],
    [`'NaN'::numeric`, 'NaN'],
  ],
  'floating numbers': [
    ['0.1::float8', 0.1],
    ['1e308::float8', 1e308],
    ['1.5::float4', 1.5],
    [`'NaN'::float8`, 'NaN'],
    [`'Infinity'::float8`, 'Infinity'],
    [`'-Infinity'::float4`, '-Infinity'],
  ],
  'text, booleans and null': [
    [`'a ''b'' "c" \\ é 😀'`, `a 'b' "c" \\ é 😀`],
    [`''`, ''],
    ['true', true],
    ['false', false],
    ['null', null],
    ['null::int8', null],
    [`'6f1c6c0e-58a2-4c3c-9d4e-0a5f2f8b7c11'::uuid`, '6f1c6c0e-58a2-4c3c-9d4e-0a5f2f8b7c11'],
  ],
  'dates and times': [
    [`'2024-02-29'::date`, '2024-02-29'],
    [`'infinity'::date`, 'infinity'],
    [`'2024-02-29 12:34:56.123456'::timestamp`, '2024-02-29T12:34:56.123456'],
    [`'2024-02-29 12:34:56'::timestamp`, '2024-02-29T12:34:56.000000'],
    [`'-infinity'::timestamp`, '-infinity'],
    [`'2024-02-29 12:34:56.1+05:30'::timestamptz`, '2024-02-29T07:04:56.100000Z'],
    [`'2024-02-29 00:30:00.000001+00'::timestamptz`, '2024-02-29T00:30:00.000001Z'],
    [`'infinity'::timestamptz`, 'infinity'],
    [`'0044-03-15 12:00:00+00 BC'::timestamptz`, '0044-03-15T12:00:00.000000Z BC'],
    [`'12:34:56.5'::time`, '12:34:56.5'],
  ],
  bytea: [
    [`'\\x00ff10'::bytea`, 'AP8Q'],
    [`''::bytea`, ''],
  ],
  json: [
    [`'{"a": [1, null, {"b": "c"}]}'::jsonb`, { a: [1, null, { b: 'c' }] }],
    [`'"text"'::json`, 'text'],
    [`'null'::jsonb`, null],
    [`'12'::jsonb`, 12],
  ],
  arrays: [
    [`'{1,NULL,3}'::int4[]`, [1, null, 3]],
    [`'{}'::int4[]`, []],
    [
      `'{{1,2},{3,4}}'::int8[]`,
      [
        [1, 2],
        [3, 4],
      ],
    ],
    [`'[0:1]={1,2}'::int2[]`, [1, 2]],
    [`array['a', null, 'NULL', '', 'b,c', '{"d"}', 'e\\f', ' g ']`, ['a', null, 'NULL', '', 'b,c', '{"d"}', 'e\\f', ' g ']],
    [`'{t,f}'::bool[]`, [true, false]],
    [`'{0.5,NaN}'::float8[]`, [0.5, 'NaN']],
    [`'{1.10}'::numeric[]`, ['1.10']],
    [`array['2024-02-29 12:00:00+02'::timestamptz, 'infinity']`, ['2024-02-29T10:00:00.000000Z', 'infinity']],
    [`array['2024-02-29'::date]`, ['2024-02-29']],
    [`array['\\x00ff'::bytea]`, ['AP8=']],
    [`array['{"a": "b,c"}'::jsonb, null]`, [{ a: 'b,c' }, null]],
    [`array['6f1c6c0e-58a2-4c3c-9d4e-0a5f2f8b7c11'::uuid]`, ['6f1c6c0e-58a2-4c3c-9d4e-0a5f2f8b7c11']],
  ],
  'everything else as its text': [
    [`'1 day 02:03:04'::interval`, '1 day 02:03:04'],
    [`'(1,2)'::point`, '(1,2)'],
    [`'192.168.0.1'::inet`, '192.168.0.1'],
    [`'[1,5)'::int4range`, '[1,5)'],
    [`'123'::xid8`, '123'],
    ['row(1, null)', '(1,)'],
  ],
}

/** JavaScript values that must come back as they are when sent as parameters of these types. */
const parameters: readonly (readonly [type: string, sent: unknown, back: unknown])[] = [
  ['text', `it's "x" \\ é 😀`, `it's "x" \\ é 😀`],
  ['text', '', ''],
  ['text', null, null],
  ['int4', -5, -5],
  ['int4', '7', 7],
  ['int8', 9007199254740991n, 9007199254740991],
  ['float8', 0.1, 0.1],
  ['float8', Number.NaN, 'NaN'],
  ['float8', Number.NEGATIVE_INFINITY, '-Infinity'],
  ['numeric', '1.50', '1.50'],
  ['bool', true, true],
  ['timestamptz', new Date('2024-02-29T12:34:56.789Z'), '2024-02-29T12:34:56.789000Z'],
  ['timestamptz', '2024-02-29T12:34:56.123456Z', '2024-02-29T12:34:56.123456Z'],
  ['timestamptz', new Date(-1e14), '1200-02-15T14:13:20.000000Z BC'],
  ['timestamptz', '1200-02-15T14:13:20.000000Z BC', '1200-02-15T14:13:20.000000Z BC'],
  ['bytea', new Uint8Array([0, 255, 16]), 'AP8Q'],
  ['jsonb', { a: [1, { b: 'c' }], d: null }, { a: [1, { b: 'c' }], d: null }],
  ['jsonb', '[1,2]', [1, 2]],
  ['int4[]', [1, null, 3], [1, null, 3]],
  ['int4[]', [], []],
  [
    'int4[]',
    [
      [1, 2],
      [3, 4],
    ],
    [
      [1, 2],
      [3, 4],
    ],
  ],
  ['text[]', ['a', null, 'NULL', '', 'b,c', '{"d"}', 'e\\f'], ['a', null, 'NULL', '', 'b,c', '{"d"}', 'e\\f']],
  ['bytea[]', [new Uint8Array([1])], ['AQ==']],
  ['jsonb[]', [{ a: '"' }], [{ a: '"' }]],
  ['timestamptz[]', [new Date(0)], ['1970-01-01T00:00:00.000000Z']],
]

/** Why a value cannot be a parameter, by what the error must say. */
const impossible: readonly (readonly [value: unknown, code: string, message: RegExp])[] = [
  [undefined, 'usage', /\$2 is undefined/],
  [[1, undefined], 'usage', /\$2\[1\] is undefined/],
  [() => 1, 'usage', /\$2 is a function/],
  [Symbol('s'), 'usage', /\$2 is a symbol/],
  [new Date(Number.NaN), 'usage', /\$2 is an invalid date/],
  [new Map(), 'usage', /\$2 is a Map/],
  ['a\u0000b', 'invalid_input', /\$2.*U\+0000/],
  ['\ud800', 'invalid_input', /\$2.*surrogate/],
]

export const valueChecks: Readonly<Record<string, Check>> = {
  ...Object.fromEntries(
    Object.entries(types).map(([name, expected]): [string, Check] => [
      `reads ${name}`,
      async (database) => {
        for (const [expression, value] of expected) {
          const { rows } = await database.query<{ value: unknown }>(`select ${expression} as value`)
          assert.deepEqual(rows, [{ value }], expression)
        }
      },
    ]),
  ),

  'names the column of an int8 that no number can hold': async (database) => {
    const expected = { code: 'database_error', sqlState: '22003', message: /"big".*9007199254740992.*text/ }
    await rejects(() => database.query('select 1 as small, 9007199254740992::int8 as big'), expected)
    await rejects(() => database.query(`select '{9007199254740992}'::int8[] as big`), expected)
    assert.deepEqual((await database.query('select 9007199254740992::int8::text as big')).rows, [{ big: '9007199254740992' }])
  },

  'reads timestamptz in UTC whatever the TimeZone of the session': async (database) => {
    await database.transaction(async (transaction) => {
      for (const zone of ['Asia/Kolkata', 'America/St_Johns', 'UTC', 'Pacific/Auckland']) {
        await transaction.query(`set local timezone = '${zone}'`)
        const { rows } = await transaction.query(
          `select '2024-01-01 00:15:00.000001+00'::timestamptz as at, '1850-01-01 00:00+00'::timestamptz as old`,
        )
        assert.deepEqual(rows, [{ at: '2024-01-01T00:15:00.000001Z', old: '1850-01-01T00:00:00.000000Z' }], zone)
      }
    })
  },

  'sends parameters of all kinds': async (database) => {
    for (const [type, sent, back] of parameters) {
      const { rows } = await database.query(`select $1::${type} as value`, [sent])
      assert.deepEqual(rows, [{ value: back }], `${type}: ${String(sent)}`)
    }
  },

  'refuses what cannot be a parameter, by its number': async (database) => {
    for (const [value, code, message] of impossible) {
      await rejects(() => database.query('select $1::text, $2::text', ['a', value]), { code, message })
    }
    await database.query('select 1')
  },

  'carries large values both ways': async (database) => {
    const text = 'é"\\'.repeat(300_000)
    const bytes = new Uint8Array(1 << 20).fill(7)
    const { rows } = await database.query('select $1::text as text, $2::bytea as bytes, repeat($3, 1000000) as made', [text, bytes, 'x'])
    assert.deepEqual(rows, [{ text, bytes: Buffer.from(bytes).toString('base64'), made: 'x'.repeat(1_000_000) }])
  },

  'gives rows as arrays when asked, with columns of one name side by side': async (database) => {
    const said = await database.query('select 1 as a, 2 as a, $1::text as b', ['x'], { rowMode: 'array' })
    assert.deepEqual(said, { rows: [[1, 2, 'x']], rowCount: 1 })
    assert.deepEqual((await database.query('select 1 as a, 2 as a')).rows, [{ a: 2 }])
  },

  'counts rows returned and changed': async (database) => {
    await withTable(database, 'a int', async (table) => {
      assert.deepEqual(await database.query(`select a from ${table}`), { rows: [], rowCount: 0 })
      assert.equal((await database.query(`insert into ${table} select generate_series(1, $1::int)`, [3])).rowCount, 3)
      assert.equal((await database.query(`update ${table} set a = a + 1 where a > $1`, [1])).rowCount, 2)
      const returned = await database.query(`delete from ${table} where a = $1 returning a`, [1])
      assert.deepEqual(returned, { rows: [{ a: 1 }], rowCount: 1 })
      assert.equal((await database.query(`select a from ${table}`)).rowCount, 2)
    })
  },

  'keeps a column named __proto__': async (database) => {
    const { rows } = await database.query('select 1 as "__proto__"')
    assert.deepEqual(Object.entries(rows[0] ?? {}), [['__proto__', 1]])
  },
}
