import { InvalidEventError, type Issue } from '../errors.ts'
import type { CheckedEvent } from '../message/command.ts'
import type { EventSource, NewEvent } from '../message/event.ts'
import { plainData } from './plain-data.ts'

type Validated = Awaited<ReturnType<EventSource['schemas'][string]['~standard']['validate']>>

/**
 * What the schema of its type makes of an event's data, as the log will give it back. At once where the schema's library answers at once.
 * @throws {InvalidEventError} a type that the aggregate does not have; data that its schema refuses, or that JSON would change
 */
export function checkNewEvent(
  { aggregateName, schemas }: Pick<EventSource, 'aggregateName' | 'schemas'>,
  event: NewEvent,
  schemaVersion: number,
): CheckedEvent | Promise<CheckedEvent> {
  const type = typeof event?.type === 'string' ? event.type : ''
  const schema = Object.hasOwn(schemas, type) ? schemas[type] : undefined
  if (!schema) {
    const message = `is no event of this aggregate; there is: ${Object.keys(schemas).join(', ')}`
    throw new InvalidEventError(aggregateName, type || JSON.stringify(event) || String(event), [{ path: [], message }])
  }
  const validated = schema['~standard'].validate(event.data)
  return validated instanceof Promise
    ? validated.then((result) => checked(aggregateName, type, schemaVersion, result))
    : checked(aggregateName, type, schemaVersion, validated)
}

function checked(aggregate: string, type: string, schemaVersion: number, result: Validated): CheckedEvent {
  if (result.issues) throw new InvalidEventError(aggregate, type, result.issues.map(toIssue))
  const plain = plainData(result.value)
  if (plain.fault) throw new InvalidEventError(aggregate, type, [plain.fault])
  return { type, schemaVersion, data: plain.value }
}

function toIssue({ path, message }: NonNullable<Validated['issues']>[number]): Issue {
  const steps = (path ?? []).map((step) => (typeof step === 'object' ? step.key : step))
  return { path: steps.map((key) => (typeof key === 'symbol' ? String(key) : key)), message }
}
