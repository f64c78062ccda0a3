import type { WhenBehind } from 'headwater'
import { postgres } from 'headwater/postgres'
import { describe, expect, test } from 'vitest'
import { decodeToken, encodeToken, mergeTokens, type Token } from '../src/message/token.ts'

describe('tokens and options', () => {
  const token = (wal: string | undefined): Token => ({
    generation: 'abc',
    writes: [{ xid: '5', fanOut: false }],
    upTo: undefined,
    position: 0,
    wal,
  })

  test('a token keeps its WAL position, with and without a position in the log', () => {
    for (const position of [0, 77]) {
      for (const wal of ['1', String(2n ** 63n)]) {
        expect(decodeToken(encodeToken({ ...token(wal), position }))).toEqual({ ...token(wal), position })
      }
      expect(decodeToken(encodeToken({ ...token(undefined), position })).wal).toBeUndefined()
    }
    const tooLarge = Buffer.from('1.abc.5.7..zzzzzzzzzzzzz').toString('base64url')
    expect(() => decodeToken(tooLarge)).toThrow(expect.objectContaining({ code: 'malformed' }))
  })

  test('tokens add up to the later WAL position, or to none when one has none', () => {
    expect(mergeTokens(token('99'), token('100')).wal).toBe('100')
    expect(mergeTokens(token('100'), token('99')).wal).toBe('100')
    expect(mergeTokens(token('100'), token(undefined)).wal).toBeUndefined()
    expect(mergeTokens(token(undefined), token('100')).wal).toBeUndefined()
  })

  test('servers that are named twice, and a choice that is none, are refused', () => {
    const url = 'postgres://localhost/a'
    expect(() => postgres({ primary: url, replicas: [url] })).toThrow(expect.objectContaining({ code: 'usage' }))
    expect(() => postgres({ primary: 'postgres://localhost/b', replicas: [url, url] })).toThrow(expect.objectContaining({ code: 'usage' }))
    expect(() => postgres({ primary: url, replicas: [], whenBehind: 'never' as WhenBehind })).toThrow(
      expect.objectContaining({ code: 'usage' }),
    )
    expect(postgres({ primary: url, replicas: [] }).replicas).toBeUndefined()
  })
})
