import type { Answer } from './connection.ts'
import type { ServerFailure } from './failure.ts'

/** One statement, on its way to the thread that PGlite runs in. */
export interface Statement {
  readonly id: number
  readonly text: string
  readonly values: readonly (string | null)[]
  /** The name under which to keep it prepared. */
  readonly name: string | undefined
}

/** What a statement answered, as PostgreSQL's own text. */
export interface TextAnswer extends Pick<Answer, 'command' | 'rowCount' | 'status'> {
  readonly fields: readonly { readonly name: string; readonly oid: number }[]
  readonly rows: readonly (readonly (string | null)[])[]
}

/** What came of it. Number 0, which nobody asked for, says that PGlite is ready. */
export type Reply = { readonly id: number; readonly answer: TextAnswer } | { readonly id: number; readonly failure: ServerFailure }
