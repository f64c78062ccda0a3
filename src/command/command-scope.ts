import { AsyncLocalStorage } from 'node:async_hooks'
import { UsageError } from '../errors.ts'

interface Scope {
  readonly command: string
  ended: boolean
}

const scopes = new AsyncLocalStorage<Scope>()

/** Runs a command's `execute`, so that {@link insideCommand} knows. What it started and left running is no longer inside once it ended. */
export async function runInside<T>(command: string, execute: () => Promise<T>): Promise<T> {
  const scope: Scope = { command, ended: false }
  try {
    return await scopes.run(scope, execute)
  } finally {
    scope.ended = true
  }
}

/** Whether the code that asks runs inside a command's `execute`. */
export function insideCommand(): boolean {
  return scopes.getStore()?.ended === false
}

/**
 * Refuses what would wait for the very transaction it is called from: on PGlite for ever, on a server behind the command's own locks.
 * @throws {UsageError} inside a command
 */
export function refuseInsideCommand(what: string): void {
  const scope = scopes.getStore()
  if (!scope || scope.ended) return
  throw new UsageError(
    `${what} inside the command ${scope.command}: it would run outside the command's transaction and could wait for it for ever; use the command's own sql or client, or call it after the command`,
  )
}
