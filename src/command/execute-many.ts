import type { Transaction } from '../database/database.ts'
import { parse } from '../message/schema.ts'
import type { TokenWrite } from '../message/token.ts'
import { type RunnableCommand, runExecute } from './attempt.ts'
import type { CommandRuntime } from './command-runtime.ts'
import { refuseInsideCommand } from './command-scope.ts'
import { Emission, stagedPosition } from './emission.ts'
import { executeManyDecisions } from './execute-many-decisions.ts'
import { failedAt } from './failed-at.ts'
import { isRejection } from './is-rejection.ts'
import type { DecidingCommand } from './judge.ts'
import type { ManyExecuted, ManyOptions } from './many-executed.ts'
import { commitUnkeyed, type Unkeyed } from './unkeyed-commit.ts'

const batchSizeDefault = 500

/**
 * The bulk door. One of an aggregate goes as {@link executeManyDecisions} says. One over tables is carried out for many inputs, in order, `batchSize` (default 500) to a transaction. The first refusal or failure rolls its
 * batch back and is thrown with the input's index in `details.index` and, in `details.executed`, how many inputs before that
 * batch are committed and stay: start again from there. A refusal stays a {@link Rejection} with its code; anything else keeps its code in a
 * {@link HeadwaterError} whose cause it is.
 * @see executeCommand
 */
export async function executeMany(
  runtime: CommandRuntime,
  definition: RunnableCommand | DecidingCommand,
  inputs: Iterable<unknown>,
  options: ManyOptions,
): Promise<ManyExecuted> {
  refuseInsideCommand(`executeMany(${JSON.stringify(definition.commandName)})`)
  if (definition['~kind'] === 'events') return executeManyDecisions(runtime, definition, inputs, options)
  const writes: TokenWrite[] = []
  let position: number | undefined
  let executed = 0
  for (const batch of batches(inputs, Math.max(1, options.batchSize ?? batchSizeDefault))) {
    const { value: staged, write } = await executeBatch(runtime, definition, batch, executed)
    if (write) writes.push(write)
    if (staged !== undefined) position = await stagedPosition(runtime, definition.commandName, staged)
    executed += batch.length
    options.onProgress?.(executed)
  }
  return { executed, writes, position }
}

async function executeBatch(
  runtime: CommandRuntime,
  definition: RunnableCommand,
  batch: readonly unknown[],
  executed: number,
): Promise<Unkeyed<string | undefined>> {
  let at: number | undefined
  const work = async (transaction: Transaction) => {
    const emission = new Emission()
    for (const [i, input] of batch.entries()) {
      at = executed + i
      const parsed = await parse(definition.commandName, definition.input, input)
      const told = await runExecute(definition, parsed, transaction, {}, emission)
      if (isRejection(told)) throw told
    }
    at = undefined
    return emission.stage(runtime, definition.commandName, transaction)
  }
  try {
    return await commitUnkeyed(runtime, definition.commandName, work)
  } catch (error) {
    throw placed(definition.commandName, error, at, executed, batch.length)
  }
}

/** The error with its place: the input's index, or the batch when it failed as a whole at its commit. */
function placed(name: string, error: unknown, index: number | undefined, executed: number, length: number): Error {
  const where = index === undefined ? `inputs ${executed} to ${executed + length - 1}` : `input ${index}`
  const after = `inputs committed in the batches before: ${executed}`
  return failedAt(name, where, after, error, index === undefined ? { executed } : { index, executed })
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
