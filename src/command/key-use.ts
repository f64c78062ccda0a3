import { createHash } from 'node:crypto'
import { InvalidInputError } from '../errors.ts'
import { canonicalJson, jsonFault } from '../internal/json.ts'
import type { KeyUse } from './command-record.ts'
import type { CommandRuntime } from './command-runtime.ts'
import { plainJson } from './plain-json.ts'

const keyBytesMax = 256

/**
 * A caller's idempotency key with the hash of its input.
 * @throws {InvalidInputError} a key that is empty, too long or no text
 * @throws {UsageError} an input that is not plain JSON, which has no hash
 */
export function keyUse(runtime: CommandRuntime, name: string, key: string, input: unknown): KeyUse {
  const bytes = Buffer.byteLength(key)
  const fault = bytes < 1 || bytes > keyBytesMax ? `has ${bytes} bytes instead of 1 to ${keyBytesMax}` : jsonFault(key)?.message
  if (fault) throw new InvalidInputError(name, [{ path: ['idempotencyKey'], message: fault }])
  const plain = plainJson(`${name}: the input of a command with an idempotency key`, input)
  const inputHash = createHash('sha256')
    .update(canonicalJson([plain]))
    .digest('hex')
  return { schema: runtime.schema, name, key, inputHash, lockTimeoutMs: runtime.lockTimeoutMs ?? 10_000 }
}
