import type { Entry } from './fold.ts'

/**
 * Rows that were used lately, in two generations: when the young one is full it becomes the old one, and what nobody asked for in the meantime is
 * gone. Only rows that are in the store as they are here.
 */
export class RowCache {
  readonly #max: number
  #young = new Map<string, Entry>()
  #old = new Map<string, Entry>()

  constructor(max: number) {
    this.#max = max
  }

  get(key: string): Entry | undefined {
    const young = this.#young.get(key)
    if (young) return young
    const old = this.#old.get(key)
    if (old) {
      this.#old.delete(key)
      this.set(key, old)
    }
    return old
  }

  set(key: string, entry: Entry): void {
    if (this.#young.size >= this.#max / 2 && !this.#young.has(key)) {
      this.#old = this.#young
      this.#young = new Map()
    }
    this.#old.delete(key)
    this.#young.set(key, entry)
  }

  delete(key: string): void {
    this.#young.delete(key)
    this.#old.delete(key)
  }

  clear(): void {
    this.#young = new Map()
    this.#old = new Map()
  }
}
