import { Rejection } from '../errors.ts'

/**
 * A refusal by the application: `throw` it or return it from a command. Nothing is written; the caller gets `code` and `details`
 * (plain JSON). With an idempotency key the refusal is recorded and answered again.
 */
export function reject<const Code extends string>(code: Code, details?: unknown): Rejection<Code> {
  return new Rejection(code, details)
}
