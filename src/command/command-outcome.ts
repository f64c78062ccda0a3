import type { TokenWrite } from '../message/token.ts'

/** What a command came to. */
export interface CommandOutcome {
  /** What `execute` resolved to, as JSON gives it back; the version of the stream for a command of an aggregate. */
  readonly result: unknown
  /** For the token. Undefined when the command wrote nothing. */
  readonly write: TokenWrite | undefined
  /** For the token: the position of the last event that the command appended, or one after it. Undefined when it appended none. */
  readonly position: number | undefined
  /** The recorded answer of an earlier call; nothing was done now. */
  readonly replayed: boolean
}
