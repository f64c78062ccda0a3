/** Where a value failed its schema: `path` leads to it from the root. */
export interface Issue {
  readonly path: readonly (string | number)[]
  readonly message: string
}

const brand = Symbol.for('headwater.error')

/**
 * Every failure of this library is one of the classes on this page. `code` is stable and may be switched on, `details`
 * is plain JSON, `cause` is what lay beneath. A refusal by the application itself is a {@link Rejection}.
 */
export class HeadwaterError extends Error {
  readonly [brand] = true
  readonly code: string
  readonly details: unknown

  constructor(code: string, message: string, options?: { readonly cause?: unknown; readonly details?: unknown }) {
    super(message, options?.cause === undefined ? undefined : { cause: options.cause })
    this.name = new.target.name
    this.code = code
    this.details = options?.details
  }
}

/** Whether `error` comes from this library, whichever copy of it threw. */
export function isHeadwaterError(error: unknown): error is HeadwaterError {
  return typeof error === 'object' && error !== null && brand in error
}

/** The application said no: the value that `reject(code, details)` makes. Thrown or returned from a command. */
export class Rejection<Code extends string = string> extends HeadwaterError {
  declare readonly code: Code

  constructor(code: Code, details?: unknown) {
    super(code, `refused: ${code}`, { details })
  }
}

/** A definition cannot work: thrown where it is made or at `start()`, naming the place, the reason and what to do. */
export class DefinitionError extends HeadwaterError {
  constructor(message: string, options?: { readonly cause?: unknown; readonly details?: unknown }) {
    super('invalid_definition', message, options)
  }
}

/** Input that is not what its schema asks for, or that no database could keep. Nothing was written. */
export class InvalidInputError extends HeadwaterError {
  readonly issues: readonly Issue[]

  constructor(subject: string, issues: readonly Issue[]) {
    const first = issues[0]
    const where = first?.path.length ? ` at ${first.path.join('.')}` : ''
    const more = issues.length > 1 ? ` (and ${issues.length - 1} more)` : ''
    super('invalid_input', `${subject}: invalid input${where}: ${first?.message ?? 'refused'}${more}`, { details: issues })
    this.issues = issues
  }
}

/** An event that is not what its schema asks for, or that JSON would not give back as it is. The code that made it is at fault. Nothing was written. */
export class InvalidEventError extends HeadwaterError {
  readonly issues: readonly Issue[]

  constructor(aggregate: string, type: string, issues: readonly Issue[]) {
    const first = issues[0]
    const more = issues.length > 1 ? ` (and ${issues.length - 1} more)` : ''
    super('invalid_event', `${aggregate}: event ${[type, ...(first?.path ?? [])].join('.')}: ${first?.message ?? 'refused'}${more}`, {
      details: { aggregate, type, issues },
    })
    this.issues = issues
  }
}

/** Nothing of that name is defined here. `code` tells the kind. */
export class UnknownNameError extends HeadwaterError {
  constructor(kind: 'command' | 'query' | 'read_model' | 'reaction', name: string, known: readonly string[]) {
    super(
      `unknown_${kind}`,
      `there is no ${kind.replace('_', ' ')} named ${JSON.stringify(name)}; there is: ${known.join(', ') || 'none'}`,
      {
        details: { name, known },
      },
    )
  }
}

/** The library was called in a way that can never work: before `start()`, inside a command, with options that contradict. */
export class UsageError extends HeadwaterError {
  constructor(message: string, options?: { readonly cause?: unknown; readonly details?: unknown }) {
    super('usage', message, options)
  }
}

/** The idempotency key was used before with another input. */
export class IdempotencyKeyReusedError extends HeadwaterError {
  constructor(command: string, key: string) {
    super('idempotency_key_reused', `${command}: the idempotency key ${JSON.stringify(key)} was used before with another input`, {
      details: { command, key },
    })
  }
}

/**
 * The connection was lost while a write was being committed, and what became of it cannot be told. With an idempotency key,
 * send the same command again: it answers what happened, or does it now, never twice.
 */
export class OutcomeUnknownError extends HeadwaterError {
  constructor(command: string, options?: { readonly cause?: unknown }) {
    super('outcome_unknown', `${command}: the connection was lost during commit; whether it took effect is not known`, options)
  }
}

/** A read model did not reach what the query asked for in time. `have` and `want` count outstanding writes. */
export class BehindError extends HeadwaterError {
  readonly have: number
  readonly want: number

  constructor(readModels: readonly string[], have: number, want: number) {
    super('behind', `${readModels.join(', ')}: behind what the query asked for: ${have} of ${want} writes are there`, {
      details: { readModels, have, want },
    })
    this.have = have
    this.want = want
  }
}

/** With `whenBehind: 'fail'` or `'wait'`: no replica has replayed the write-ahead log up to what the query asked for. */
export class ReplicaBehindError extends HeadwaterError {
  constructor(replicas: readonly string[]) {
    super('replica_behind', `no replica has replayed what the query asked for; looked at: ${replicas.join(', ')}`, {
      details: { replicas },
    })
  }
}

/** A read model is not there yet: its first build goes on, or it stopped. `code` is `building` or `stopped`. */
export class NotReadyError extends HeadwaterError {
  constructor(code: 'building' | 'stopped', readModel: string, detail: string) {
    super(code, `${readModel}: ${detail}`, { details: { readModel } })
  }
}

/** The key asked for is parked: its last change could not be computed, so no answer that is surely new enough exists. */
export class ParkedError extends HeadwaterError {
  constructor(readModel: string, key: string, reason: string) {
    super('parked', `${readModel}: key ${key} is parked: ${reason}`, { details: { readModel, key, reason } })
  }
}

/** A token that does not parse (`malformed`), belongs to another generation (`other_generation`) or lies ahead of the database (`ahead`). */
export class TokenError extends HeadwaterError {
  constructor(code: 'malformed' | 'other_generation' | 'ahead', message: string) {
    super(code, message)
  }
}

/** No declared index serves what `find` was asked for. */
export class NoIndexError extends HeadwaterError {
  constructor(readModel: string, asked: string, indexes: readonly string[]) {
    super('no_index', `${readModel}: no index serves ${asked}; declared: ${indexes.join('; ') || 'none'}. Add one to "indexes".`, {
      details: { readModel, asked, indexes },
    })
  }
}

/** The database refused a statement. `sqlState` is the five-character SQLSTATE. */
export class DatabaseError extends HeadwaterError {
  readonly sqlState: string
  readonly constraint: string | undefined

  constructor(sqlState: string, message: string, options?: { readonly cause?: unknown; readonly constraint?: string | undefined }) {
    super('database_error', message, options)
    this.sqlState = sqlState
    this.constraint = options?.constraint
  }
}

/**
 * The database cannot be reached, or the connection broke. `during` says whether a commit was under way: `commit` means that
 * the transaction may have taken effect.
 */
export class DatabaseUnavailableError extends HeadwaterError {
  readonly during: 'connect' | 'statement' | 'commit'

  constructor(message: string, during: 'connect' | 'statement' | 'commit', options?: { readonly cause?: unknown }) {
    super('database_unavailable', message, options)
    this.during = during
  }
}

/** The data directory or schema is held by another process, or was made by another version. `message` says what to do. */
export class IncompatibleStoreError extends HeadwaterError {
  constructor(code: 'locked' | 'other_version' | 'newer_schema', message: string, options?: { readonly cause?: unknown }) {
    super(code, message, options)
  }
}

/** The log holds an event whose type, or whose newer schema version, this code does not know. Nothing is dropped: deploy the code that knows it. */
export class UnknownEventError extends HeadwaterError {
  readonly position: number

  constructor(
    event: { readonly type: string; readonly schemaVersion: number; readonly position: number; readonly aggregate: string },
    known: string,
  ) {
    super(
      'unknown_event',
      `position ${event.position}: ${event.aggregate} has an event ${event.type} of schema version ${event.schemaVersion}, and this code knows ${known}; deploy the version that wrote it`,
      { details: { position: event.position, type: event.type, schemaVersion: event.schemaVersion } },
    )
    this.position = event.position
  }
}

/** A stream is not at the version that the caller holds, or it changed again at each of the tries. */
export class VersionConflictError extends HeadwaterError {
  constructor(aggregate: string, stream: string, expected: number | string, actual: number) {
    super('version_conflict', `${aggregate} ${stream}: expected ${expected}, found version ${actual}; read it again and decide anew`, {
      details: { aggregate, stream, expected, actual },
    })
  }
}

/** A handler of a projection or reaction did what it must not. `message` says what and how to mend it; the key or event is parked. */
export class HandlerError extends HeadwaterError {
  constructor(message: string, options?: { readonly cause?: unknown }) {
    super('handler', message, options)
  }
}

/** What a reader of the log found is not the log it knew: a hole, a repeated event, or a checkpoint over events that are gone. It stops until told. */
export class LogMismatchError extends HeadwaterError {
  constructor(message: string, details: unknown) {
    super('log_mismatch', message, { details })
  }
}
