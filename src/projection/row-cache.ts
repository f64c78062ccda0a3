import type { Entry } from './fold.ts'

/**
 * Rows that were used lately, in two generations: when the young one is full it becomes the old one, and what nobody asked for in the meantime is
 * gone. Only rows that are in the store as they are here.
 */
export class RowCache {
  readonly #max: number
  #young = new Map<string, Entry>()
  #old = new Map<string, Entry>()
  /** Whether what is not here is not in the store either: true from an empty store on until something was forgotten. */
  complete = false

  constructor(max: number) {
    this.#max = max
  }

  get size(): number {
    return this.#young.size + this.#old.size
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
      if (this.#old.size > 0) this.complete = false
      this.#old = this.#young
      this.#young = new Map()
    }
    this.#old.delete(key)
    this.#young.set(key, entry)
  }

  delete(key: string): void {
    this.#young.delete(key)
    this.#old.delete(key)
    this.complete = false
  }

  clear(): void {
    this.#young = new Map()
    this.#old = new Map()
    this.complete = false
  }
}
