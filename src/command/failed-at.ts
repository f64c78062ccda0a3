import { HeadwaterError, isHeadwaterError, Rejection } from '../errors.ts'
import { isRejection } from './is-rejection.ts'

/** An error of the bulk door with its place. A refusal stays one; anything else keeps its code, and is the cause. */
export function failedAt(name: string, where: string, after: string, error: unknown, place: object): HeadwaterError {
  const what = error instanceof Error ? error.message : String(error)
  const message = `${name}: ${where}: ${what} (${after})`
  if (!isRejection(error)) {
    return new HeadwaterError(isHeadwaterError(error) ? error.code : 'failed', message, { cause: error, details: place })
  }
  const refusal = new Rejection(error.code, { ...place, details: error.details })
  refusal.message = message
  refusal.cause = error
  return refusal
}
