import { quote } from '../database/identifier.ts'
import { TokenError } from '../errors.ts'
import type { ViewRuntime } from '../materialized-view/registry.ts'
import { decodeToken, encodeToken, mergeTokens, type Token, type TokenWrite } from '../message/token.ts'

/**
 * The token of a write, added to the one its caller had. What every read model holds by now is dropped, so that a token stays short however
 * long a session lasts.
 */
export async function mergedToken(
  runtime: ViewRuntime,
  generation: string,
  wrote: { readonly writes: readonly TokenWrite[]; readonly position: number },
  older: Token | undefined,
): Promise<string> {
  const empty: Token = { generation, writes: [], upTo: undefined, position: wrote.position }
  const written = wrote.writes.reduce<Token>((token, write) => mergeTokens(token, { ...empty, writes: [write] }), empty)
  if (older === undefined) return encodeToken(written)
  return encodeToken(mergeTokens(await unapplied(runtime, older), written))
}

/**
 * A token that a caller gave, checked before anything is written for it.
 * @throws {TokenError} `malformed` or `other_generation`
 */
export function checkedToken(generation: string, text: string | undefined): Token | undefined {
  if (text === undefined) return undefined
  const token = decodeToken(text)
  if (token.generation === generation) return token
  throw new TokenError('other_generation', 'the token was made before the database was restored or replaced; drop it and read afresh')
}

async function unapplied(runtime: ViewRuntime, token: Token): Promise<Token> {
  if (token.writes.length === 0) return token
  const { rows } = await runtime.database.query<{ xid: string }>(
    `select unapplied::text as xid from ${quote(runtime.schema)}.unapplied($1::xid8[], $2::boolean[])`,
    [token.writes.map(({ xid }) => xid), token.writes.map(({ fanOut }) => fanOut)],
    { prepare: true },
  )
  const left = new Set(rows.map(({ xid }) => xid))
  return { ...token, writes: token.writes.filter(({ xid }) => left.has(xid)) }
}
