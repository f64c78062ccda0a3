import { DatabaseUnavailableError, HeadwaterError, isHeadwaterError } from '../../index.ts'

/** Not primary, shutting down, stepping down: another moment, or another member, will serve. */
const passing = new Set([89, 91, 189, 262, 9001, 10107, 11600, 11602, 13435, 13436])
const unreachable = /^Mongo(Network|ServerSelection|Topology|NotConnected|Pool|WaitQueue|ServerClosed|ClientClosed|OperationTimeout)/

/** What went wrong, in this library's words. `during` a commit: some of the batch may have been written. */
export function failureOf(error: unknown, description: string, during: 'connect' | 'statement' | 'commit'): unknown {
  if (isHeadwaterError(error) || !(error instanceof Error)) return error
  const said = `${description}: ${error.message || error.name}`
  const code: unknown = Reflect.get(error, 'code')
  if (unreachable.test(error.name) || (typeof code === 'number' && passing.has(code))) {
    return new DatabaseUnavailableError(said, during, { cause: error })
  }
  return /^Mongo/.test(error.name) ? new HeadwaterError('store_error', said, { cause: error }) : error
}

/** FerretDB fails where a collection is dropped while it reads it; MongoDB finds nothing there. */
export function isVanished(error: unknown): boolean {
  return error instanceof Error && /^Mongo/.test(error.name) && error.message.includes('SQLSTATE 42P01')
}
