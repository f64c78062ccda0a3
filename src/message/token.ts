import { TokenError } from '../errors.ts'

/** A write's mark in a token: its transaction id, and whether it fanned out (changed rows that reach read models through a SQL map). */
export interface TokenWrite {
  readonly xid: string
  readonly fanOut: boolean
}

/**
 * What a write returns and a query may demand: the transactions and the position in the log that it must not be older than, and where replicas are read
 * from, the WAL position that a replica must have replayed for that. Tokens add up. One that grew past
 * {@link writesMax} writes names the oldest together: `upTo` stands for every transaction up to that id, which is safe and may wait longer.
 */
export interface Token {
  /** The generation of the database it was made in; another one's ids mean something else. */
  readonly generation: string
  readonly writes: readonly TokenWrite[]
  readonly upTo: string | undefined
  /** The last event's position in the log; 0 when the token names no event. */
  readonly position: number
  /**
   * The WAL position of the primary after all of it was committed, in bytes: a replica that has replayed up to there holds it. Undefined: not known,
   * as in a token of a process without replicas; whoever reads from a replica then asks the primary where it is now.
   */
  readonly wal?: string | undefined
}

export const writesMax = 32

/** The opaque text of a token. */
export function encodeToken(token: Token): string {
  const writes = token.writes.map(({ xid, fanOut }) => `${BigInt(xid).toString(36)}${fanOut ? '!' : ''}`)
  const upTo = token.upTo === undefined ? '' : BigInt(token.upTo).toString(36)
  const position = token.position > 0 ? token.position.toString(36) : ''
  const wal = token.wal === undefined ? '' : BigInt(token.wal).toString(36)
  const text = ['1', token.generation, writes.join(','), upTo, ...(wal ? [position, wal] : position ? [position] : [])].join('.')
  return Buffer.from(text).toString('base64url')
}

/**
 * Several tokens with commas between them are one token that covers them all: so a caller can add up tokens without knowing what is in them.
 * @throws {TokenError} `malformed`, or `other_generation` when they do not belong together
 */
export function decodeToken(text: string): Token {
  return text.split(',').map(decodeOne).reduce(mergeTokens)
}

function decodeOne(text: string): Token {
  const plain = text.length <= 4096 ? Buffer.from(text, 'base64url').toString() : ''
  const [, generation, writes, upTo, alone, position = alone, wal] =
    /^1\.([0-9a-f]+)\.((?:[0-9a-z]{1,13}!?(?:,[0-9a-z]{1,13}!?)*)?)\.([0-9a-z]{0,13})(?:\.([0-9a-z]{1,10})|\.([0-9a-z]{0,10})\.([0-9a-z]{1,13}))?$/.exec(
      plain,
    ) ?? []
  if (generation === undefined || writes === undefined) throw malformed()
  return {
    generation,
    writes: writes
      .split(',')
      .filter(Boolean)
      .map((write) => ({ xid: fromBase36(write.replace('!', '')), fanOut: write.endsWith('!') })),
    upTo: upTo ? fromBase36(upTo) : undefined,
    position: position ? Number.parseInt(position, 36) : 0,
    ...(wal === undefined ? {} : { wal: fromBase36(wal) }),
  }
}

/** A token that covers both. @throws {TokenError} `other_generation` */
export function mergeTokens(older: Token, newer: Token): Token {
  if (older.generation !== newer.generation) {
    throw new TokenError('other_generation', 'the token was made before the database was restored or replaced; drop it and read afresh')
  }
  const byXid = new Map([...older.writes, ...newer.writes].map((write) => [write.xid, write]))
  const upTo = largest([older.upTo, newer.upTo])
  const position = Math.max(older.position, newer.position)
  // What one of the two does not know, the sum does not know.
  const wal = older.wal === undefined || newer.wal === undefined ? {} : { wal: largest([older.wal, newer.wal]) }
  const writes = [...byXid.values()]
    .filter(({ xid }) => upTo === undefined || BigInt(xid) > BigInt(upTo))
    .sort((a, b) => (BigInt(a.xid) < BigInt(b.xid) ? -1 : 1))
  if (writes.length <= writesMax) return { generation: newer.generation, writes, upTo, position, ...wal }
  const surplus = writes.slice(0, writes.length - writesMax)
  return { generation: newer.generation, writes: writes.slice(-writesMax), upTo: surplus.at(-1)?.xid ?? upTo, position, ...wal }
}

function largest(ids: readonly (string | undefined)[]): string | undefined {
  return ids.reduce((a, b) => (a === undefined ? b : b === undefined || BigInt(a) >= BigInt(b) ? a : b), undefined)
}

function fromBase36(text: string): string {
  const id = [...text].reduce((sum, digit) => sum * 36n + BigInt(Number.parseInt(digit, 36)), 0n)
  if (BigInt.asUintN(64, id) !== id) throw malformed()
  return id.toString()
}

function malformed(): TokenError {
  return new TokenError('malformed', 'the token does not parse; send one as a command returned it')
}
