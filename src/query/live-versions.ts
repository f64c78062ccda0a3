import { DatabaseError, NotReadyError } from '../errors.ts'
import type { Query } from '../message/query.ts'

const lookups = 3

/** Where versions that are live are looked up. */
interface LiveVersions {
  /** @throws {NotReadyError} there is none */
  readonly locate: (readModel: string) => { readonly kept: { readonly id: number } }
  /** Looks again which versions are live. */
  readonly refresh: () => Promise<void>
}

/**
 * Runs `work`, which reads the versions that were live when this process last looked. Another process may have switched to others since and dropped them:
 * where they cannot be read it looks again, and runs once more on those that are live by now.
 */
export async function onLiveVersions<T>(versions: LiveVersions, query: Query, work: () => Promise<T>): Promise<T> {
  for (let left = lookups; ; left--) {
    const before = idsOf(versions, query)
    try {
      return await work()
    } catch (error) {
      if (left === 0 || before === undefined || !mayBeDropped(error)) throw error
      await versions.refresh()
      if (idsOf(versions, query) === before) throw error
    }
  }
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
