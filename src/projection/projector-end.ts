/** Another owner moved the checkpoint: what this one folded since counts nothing. */
export class LostError extends Error {}

/** What must stop the read model until a person, or other code, comes. Everything up to it is stored. */
export class StopError extends Error {
  override readonly cause: Error

  constructor(cause: Error) {
    super(cause.message)
    this.cause = cause
  }
}
