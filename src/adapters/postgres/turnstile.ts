/** Lets so many through at a time, in the order they came. */
export class Turnstile {
  readonly #waiting: (() => void)[] = []
  #free: number
  #inside = 0
  #emptied: (() => void) | undefined

  constructor(places: number) {
    this.#free = places
  }

  /** Runs `work` when there is a place for it. */
  async pass<T>(work: () => Promise<T>): Promise<T> {
    this.#inside++
    if (this.#free > 0) this.#free--
    else await new Promise<void>((resolve) => this.#waiting.push(resolve))
    try {
      return await work()
    } finally {
      this.#leave()
    }
  }

  /** Resolves when nobody is inside or waiting. */
  async empty(): Promise<void> {
    if (this.#inside > 0) await new Promise<void>((resolve) => (this.#emptied = resolve))
  }

  #leave(): void {
    this.#inside--
    const next = this.#waiting.shift()
    if (next) next()
    else this.#free++
    if (this.#inside === 0) this.#emptied?.()
  }
}
