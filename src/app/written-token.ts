import { quote } from '../database/identifier.ts'
import { TokenError } from '../errors.ts'
import type { ViewRuntime } from '../materialized-view/registry.ts'
import { decodeToken, encodeToken, mergeTokens, type Token, type TokenWrite } from '../message/token.ts'
import type { ReplicaSet } from '../query/replica-set.ts'

/** What making a token needs: the database, and its replicas, which have to replay what the token covers. */
export type TokenRuntime = Pick<ViewRuntime, 'database' | 'schema'> & { readonly replicas: ReplicaSet | undefined }

/**
 * The token of a write that is committed, added to the one its caller had. What every read model holds by now is dropped, so that a token stays short
 * however long a session lasts.
 */
export async function mergedToken(
  runtime: TokenRuntime,
  generation: string,
  wrote: { readonly writes: readonly TokenWrite[]; readonly position: number },
  older: Token | undefined,
): Promise<string> {
  const empty: Token = { generation, writes: [], upTo: undefined, position: wrote.position }
  const written = wrote.writes.reduce<Token>((token, write) => mergeTokens(token, { ...empty, writes: [write] }), empty)
  const token = older === undefined ? written : mergeTokens(await unapplied(runtime, older), written)
  return encodeToken({ ...token, ...(await walNow(runtime)) })
}

/**
 * Where the primary's write-ahead log is: after this commit, those of the older token, and the recomputes for which a write was dropped from it. When it
 * cannot be told the write stands all the same, and a query asks again.
 */
async function walNow({ replicas }: TokenRuntime): Promise<{ readonly wal: string | undefined }> {
  return { wal: await replicas?.position().catch(() => undefined) }
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

/** Without the writes that every read model holds. Where that cannot be told they all stay: what the token is for is committed, and asks for too much at worst. */
async function unapplied(runtime: TokenRuntime, token: Token): Promise<Token> {
  if (token.writes.length === 0) return token
  try {
    const { rows } = await runtime.database.query<{ xid: string }>(
      `select unapplied::text as xid from ${quote(runtime.schema)}.unapplied($1::xid8[], $2::boolean[])`,
      [token.writes.map(({ xid }) => xid), token.writes.map(({ fanOut }) => fanOut)],
      { prepare: true },
    )
    const left = new Set(rows.map(({ xid }) => xid))
    return { ...token, writes: token.writes.filter(({ xid }) => left.has(xid)) }
  } catch {
    return token
  }
}
