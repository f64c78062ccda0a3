import type { StandardSchemaV1 } from '@standard-schema/spec'
import { InvalidInputError, type Issue } from '../errors.ts'
import { jsonFault } from '../internal/json.ts'

/** A schema of any library that speaks Standard Schema: Zod, Valibot, ArkType, ... */
export type Schema<Output = unknown, Input = unknown> = StandardSchemaV1<Input, Output>
/** What a schema takes: before defaults and transformations. */
export type InputOf<S extends Schema> = StandardSchemaV1.InferInput<S>
/** What a schema gives: after defaults and transformations. */
export type OutputOf<S extends Schema> = StandardSchemaV1.InferOutput<S>

/** A schema that checks nothing and only carries a type, where no schema exists: `row: type<Post>()`. */
export function type<T>(): Schema<T, T> {
  return { '~standard': { version: 1, vendor: 'headwater', validate: (value) => ({ value: value as T }) } }
}

/**
 * What `schema` makes of `value`.
 * @throws {InvalidInputError} with every issue and its path; also for text that no database could keep.
 */
export async function parse<S extends Schema>(subject: string, schema: S, value: unknown): Promise<OutputOf<S>> {
  const fault = jsonFault(value)
  if (fault) throw new InvalidInputError(subject, [fault])
  const made = schema['~standard'].validate(value)
  const result = made instanceof Promise ? await made : made
  if (result.issues) throw new InvalidInputError(subject, result.issues.map(toIssue))
  return result.value as OutputOf<S>
}

function toIssue(issue: StandardSchemaV1.Issue): Issue {
  const path = (issue.path ?? []).map((step) => (typeof step === 'object' ? step.key : step))
  return { path: path.map((key) => (typeof key === 'symbol' ? String(key) : key)), message: issue.message }
}

interface DescribesItself {
  readonly jsonSchema?: { readonly output: (options: { readonly target: string }) => unknown }
}

/** The names of the members that a schema's output has, where its library can say (Standard JSON Schema); undefined where it cannot. */
export function memberNames(schema: Schema): readonly string[] | undefined {
  const standard: DescribesItself = schema['~standard'] as object
  try {
    const described = standard.jsonSchema?.output({ target: 'draft-2020-12' }) as { readonly properties?: object } | undefined
    return described?.properties && Object.keys(described.properties)
  } catch {
    // A library may throw for what JSON Schema has no word for, such as dates.
    return undefined
  }
}
