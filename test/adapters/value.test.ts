import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { type ArrayText, readArray, writeArray } from '../../src/adapters/postgres/array-text.ts'
import { isoTime, utcText } from '../../src/adapters/postgres/time-text.ts'
import { decoderOf } from '../../src/adapters/postgres/value.ts'

describe('the text of an SQL array', () => {
  test('is read back as it was written', () => {
    const leaf = fc.oneof(fc.string({ unit: 'grapheme' }), fc.constantFrom('NULL', '', '{', '}', ',', '"', '\\', ' a '), fc.constant(null))
    const { items } = fc.letrec<{ items: ArrayText }>((tie) => ({
      items: fc.array(fc.oneof({ depthSize: 'small' }, leaf, tie('items'))),
    }))
    fc.assert(
      fc.property(items, (value) => {
        expect(readArray(writeArray(value))).toEqual(value)
      }),
    )
  })
})

describe('times', () => {
  test.each([
    ['2024-02-29 23:59:59.5-00:30', '2024-03-01T00:29:59.500000Z'],
    ['2024-01-01 00:00:00.123456+14', '2023-12-31T10:00:00.123456Z'],
    ['1850-01-01 05:53:28+05:53:28', '1850-01-01T00:00:00.000000Z'],
    ['0001-01-01 00:00:00+01 BC', '0002-12-31T23:00:00.000000Z BC'],
    ['0001-01-01 00:00:00+01', '0001-12-31T23:00:00.000000Z BC'],
    ['12000-01-01 00:00:00+00', '12000-01-01T00:00:00.000000Z'],
  ])('%s is %s', (text, iso) => {
    expect(isoTime(text)).toBe(iso)
  })

  test('of any moment in JavaScript are read back as they were written', () => {
    fc.assert(
      fc.property(fc.date({ noInvalidDate: true, min: new Date(-2e14) }), (moment) => {
        const text = utcText(moment).replace('T', ' ').replace('Z', '+00')
        expect(isoTime(text)).toBe(utcText(moment, `${String(moment.getUTCMilliseconds()).padStart(3, '0')}000`))
      }),
    )
  })

  test.each([
    [1184, '29/02/2024 12:00:00 UTC'],
    [1114, 'Thu Feb 29 12:00:00 2024'],
    [1082, '29.02.2024'],
  ])('in a style that nobody can read for certain are refused (%s: %s)', (oid, text) => {
    expect(() => decoderOf(oid)(text, 'at')).toThrow(/"at".*DateStyle/)
  })
})

test('bytea is read in both of its styles', () => {
  const decode = decoderOf(17)
  expect(decode('\\x005c61ff', 'b')).toBe(Buffer.from([0, 0x5c, 0x61, 0xff]).toString('base64'))
  expect(decode('\\000\\\\a\\377', 'b')).toBe(Buffer.from([0, 0x5c, 0x61, 0xff]).toString('base64'))
})
