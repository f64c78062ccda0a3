/**
 * Work under one name, one after the other within this process. For a server that has no step of its own which compares and sets: ranges of one read
 * model, which this process owns, share a document.
 */
export class Turns {
  readonly #last = new Map<string, Promise<unknown>>()

  async take<T>(name: string, work: () => Promise<T>): Promise<T> {
    const before = this.#last.get(name)
    const mine = (async () => {
      await before?.catch(() => undefined)
      return await work()
    })()
    this.#last.set(name, mine)
    try {
      return await mine
    } finally {
      if (this.#last.get(name) === mine) this.#last.delete(name)
    }
  }
}
