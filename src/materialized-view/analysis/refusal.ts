import { DefinitionError } from '../../errors.ts'

/** One reason why a view cannot be kept. `subject` is what it is about: a table, a column, a function, ... */
export interface Refusal {
  readonly code: string
  readonly subject: string
  /** What, where, why, and what to do. */
  readonly message: string
}

/** The error that carries them all; its `details` list the code and subject of each. */
export function refused(view: string, refusals: readonly Refusal[], cause?: unknown): DefinitionError {
  const lines = refusals.map(({ message }) => message)
  const text =
    lines.length === 1 ? lines[0] : `${lines.length} reasons why it cannot be kept:\n${lines.map((line) => `- ${line}`).join('\n')}`
  return new DefinitionError(`materialized view ${view}: ${text}`, {
    cause,
    details: refusals.map(({ code, subject }) => ({ code, subject })),
  })
}
