import { DatabaseError, NotReadyError } from '../errors.ts'
import type { Query } from '../message/query.ts'

const lookups = 3

/** Where versions that are live are looked up. */
export interface LiveVersions {
  /** @throws {NotReadyError} there is none */
  readonly locate: (readModel: string) => { readonly kept: { readonly id: number } }
  /** The versions as last seen: other lists after each look. */
  readonly seen: () => readonly unknown[]
  /** Looks again which versions are live. */
  readonly refresh: () => Promise<void>
}

/**
 * Goes on after `error`, with which `work` failed on the versions that were live when this process last looked (`seen`). Another process may have switched
 * to others since and dropped them: where they could not be read it looks again, and runs once more on those that are live by now.
 */
export async function onNewerVersions<T>(
  versions: LiveVersions,
  query: Query,
  failed: { readonly seen: readonly unknown[]; readonly error: unknown },
  work: () => Promise<T>,
): Promise<T> {
  let { seen, error } = failed
  for (let left = lookups; ; left--) {
    if (left === 0 || !mayBeDropped(error) || !(await haveChanged(versions, query, seen))) throw error
    seen = versions.seen()
    try {
      return await work()
    } catch (again) {
      error = again
    }
  }
}

/** Whether others are live than those seen. A look since then may have found them already. */
async function haveChanged(versions: LiveVersions, query: Query, seen: readonly unknown[]): Promise<boolean> {
  if (versions.seen().some((list, i) => list !== seen[i])) return true
  const before = idsOf(versions, query)
  if (before === undefined) return false
  await versions.refresh()
  return idsOf(versions, query) !== before
}

/** Undefined: not all have one. */
function idsOf(versions: LiveVersions, query: Query): string | undefined {
  try {
    return Object.values(query['~reads'])
      .map(({ readModelName }) => versions.locate(readModelName).kept.id)
      .join()
  } catch (error) {
    if (error instanceof NotReadyError) return undefined
    throw error
  }
}

function mayBeDropped(error: unknown): boolean {
  return error instanceof NotReadyError || (error instanceof DatabaseError && error.sqlState === '42P01')
}
