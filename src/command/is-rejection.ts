import { isHeadwaterError, Rejection } from '../errors.ts'

/** Whether `value` is what `reject()` makes, also from another copy of this library. */
export function isRejection(value: unknown): value is Rejection {
  return value instanceof Rejection || (isHeadwaterError(value) && value.name === Rejection.name)
}
