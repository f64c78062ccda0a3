const budgetMs = 20
const strideMax = 64

/**
 * Lets everything else of the process have its turn while a long loop runs: the loop asks before each step whether {@link isDue}, and then waits for
 * {@link take}. The clock is looked at the less often the faster the steps are.
 */
export class Breather {
  #since = performance.now()
  #lookedAt = this.#since
  #stride = 1
  #steps = 0

  isDue(): boolean {
    if (++this.#steps < this.#stride) return false
    this.#steps = 0
    const now = performance.now()
    const took = now - this.#lookedAt
    this.#lookedAt = now
    if (took < budgetMs / 16) this.#stride = Math.min(strideMax, this.#stride * 2)
    else if (took > budgetMs / 4) this.#stride = Math.max(1, this.#stride >> 2)
    return now - this.#since >= budgetMs
  }

  async take(): Promise<void> {
    await new Promise<void>((resolve) => setImmediate(resolve))
    this.#since = performance.now()
    this.#lookedAt = this.#since
  }
}
