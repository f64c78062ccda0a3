const namesMax = 200

/**
 * Names for the statements that connections keep prepared, the same on all of them. The first 200 texts get one; what comes later
 * runs unnamed, so that texts built at run time cannot fill the server's memory.
 */
export class StatementNames {
  readonly #names = new Map<string, string>()
  #given = 0

  /** Undefined when the text shall not be kept, or cannot: it may hold several statements when it has no parameters. */
  nameOf(text: string, values: readonly unknown[]): string | undefined {
    if (values.length === 0 && text.includes(';')) return undefined
    const known = this.#names.get(text)
    if (known !== undefined || this.#names.size >= namesMax) return known
    const name = `headwater_${++this.#given}`
    this.#names.set(text, name)
    return name
  }

  /** From here on every text gets a new name, and so is prepared again everywhere. */
  forget(): void {
    this.#names.clear()
  }
}
