/** Lets work under one key take turns, in the order of the calls; work under different keys goes on side by side. */
export class Turns {
  readonly #last = new Map<string, Promise<unknown>>()

  /** Runs `work` once everything before it under `key` has ended, well or not. */
  run<T>(key: string, work: () => Promise<T>): Promise<T> {
    const before = this.#last.get(key)
    const mine = before ? before.then(work, work) : work()
    this.#last.set(key, mine)
    const forget = () => {
      if (this.#last.get(key) === mine) this.#last.delete(key)
    }
    mine.then(forget, forget)
    return mine
  }

  /** Keys with work under way. */
  get size(): number {
    return this.#last.size
  }
}
