const provenAfter = 8

/**
 * Learns which commands begin streams, such as "open an account": after eight in a row that found nothing, their state is taken to be the initial
 * one without looking. That is a guess like a state from the cache, which may be old: the append checks that the stream has no events, and what is
 * decided without an append is decided again on what was read. One that was wrong puts an end to it.
 */
export class Beginnings {
  readonly #inARow = new Map<string, number>()

  /** Whether the stream of this command's next call is taken to be new. */
  expects(command: string): boolean {
    return (this.#inARow.get(command) ?? 0) >= provenAfter
  }

  /** A call of this command found its stream at `version`. */
  found(command: string, version: number): void {
    if (version === 0) this.#inARow.set(command, (this.#inARow.get(command) ?? 0) + 1)
    else this.#inARow.delete(command)
  }
}
