import type { Transaction } from '../database/database.ts'
import { HeadwaterError, isHeadwaterError, Rejection } from '../errors.ts'
import { parse } from '../message/schema.ts'
import type { TokenWrite } from '../message/token.ts'
import { type CommandRuntime, isRejection, type RunnableCommand, runExecute } from './attempt.ts'
import { refuseInsideCommand } from './command-scope.ts'
import { commitUnkeyed } from './unkeyed-commit.ts'

/** What the bulk door did. */
export interface ManyExecuted {
  readonly executed: number
  /** One for each transaction that wrote. */
  readonly writes: readonly TokenWrite[]
}

const batchSizeDefault = 500

/**
 * The bulk door: carries a command out for many inputs, in order, `batchSize` (default 500) to a transaction. The first refusal or failure rolls its
 * batch back and is thrown with the input's index in `details.index` and, in `details.executed`, how many inputs before that
 * batch are committed and stay: start again from there. A refusal stays a {@link Rejection} with its code; anything else keeps its code in a
 * {@link HeadwaterError} whose cause it is.
 * @see executeCommand
 */
export async function executeMany(
  runtime: CommandRuntime,
  definition: RunnableCommand,
  inputs: Iterable<unknown>,
  options: { readonly batchSize?: number; readonly onProgress?: (done: number) => void },
): Promise<ManyExecuted> {
  refuseInsideCommand(`executeMany(${JSON.stringify(definition.commandName)})`)
  const writes: TokenWrite[] = []
  let executed = 0
  for (const batch of batches(inputs, Math.max(1, options.batchSize ?? batchSizeDefault))) {
    const write = await executeBatch(runtime, definition, batch, executed)
    if (write) writes.push(write)
    executed += batch.length
    options.onProgress?.(executed)
  }
  return { executed, writes }
}

async function executeBatch(
  runtime: CommandRuntime,
  definition: RunnableCommand,
  batch: readonly unknown[],
  executed: number,
): Promise<TokenWrite | undefined> {
  let at: number | undefined
  const work = async (transaction: Transaction) => {
    for (const [i, input] of batch.entries()) {
      at = executed + i
      const told = await runExecute(definition, await parse(definition.commandName, definition.input, input), transaction, undefined)
      if (isRejection(told)) throw told
    }
    at = undefined
  }
  try {
    return (await commitUnkeyed(runtime, definition.commandName, work)).write
  } catch (error) {
    throw placed(definition.commandName, error, at, executed, batch.length)
  }
}

/** The error with its place: the input's index, or the batch when it failed as a whole at its commit. */
function placed(name: string, error: unknown, index: number | undefined, executed: number, length: number): HeadwaterError {
  const where = index === undefined ? `inputs ${executed} to ${executed + length - 1}` : `input ${index}`
  const what = error instanceof Error ? error.message : String(error)
  const message = `${name}: ${where}: ${what} (inputs committed in the batches before: ${executed})`
  const place = index === undefined ? { executed } : { index, executed }
  if (!isRejection(error)) {
    return new HeadwaterError(isHeadwaterError(error) ? error.code : 'failed', message, { cause: error, details: place })
  }
  const refusal = new Rejection(error.code, { ...place, details: error.details })
  refusal.message = message
  refusal.cause = error
  return refusal
}

function* batches<T>(items: Iterable<T>, size: number): Generator<readonly T[]> {
  let batch: T[] = []
  for (const item of items) {
    batch.push(item)
    if (batch.length < size) continue
    yield batch
    batch = []
  }
  if (batch.length > 0) yield batch
}
