import type { Store } from '../read-model/store.ts'
import type { Defined } from './definitions.ts'

/** How many applications of this process use a store. */
const holders = new WeakMap<Store, number>()

/**
 * The stores of one application. Applications of a process may share a store: it is closed when the last of them lets go, so that none is cut off by
 * another's stop. What an adapter was given open (a client) it leaves open.
 */
export class HeldStores {
  #held: ReadonlySet<Store>

  constructor({ views, projections }: Pick<Defined, 'views' | 'projections'>) {
    const named = [...views.map((view) => view['~view'].store), ...projections.map((projection) => projection['~projection'].store)]
    this.#held = new Set(named.filter((store) => store !== undefined))
    for (const store of this.#held) holders.set(store, (holders.get(store) ?? 0) + 1)
  }

  /** Closes those that no other application uses. What cannot be closed is gone anyway. Idempotent. */
  async release(): Promise<void> {
    const held = [...this.#held]
    this.#held = new Set()
    const last = held.filter((store) => {
      const left = (holders.get(store) ?? 1) - 1
      holders.set(store, left)
      return left === 0
    })
    await Promise.allSettled(last.map(async (store) => store.close?.()))
  }
}
