import { type Batch, DatabaseUnavailableError, type Store } from 'headwater'

/** A store that a test can hold up, cut off, and make lose its answers. */
export interface ControlledStore extends Store {
  /** While it is set every call fails. */
  isDown: boolean
  /** Called with each batch before it is written; what it returns is waited for, and `false` leaves the batch to the test. */
  onApply: ((batch: Batch) => Promise<undefined | false>) | undefined
  /** Batches that are written and of which nobody hears: so many more. */
  silent: number
  /** Batches that were written. */
  readonly written: Batch[]
}

export function controlled(store: Store): ControlledStore {
  const up = () => {
    if (made.isDown) throw new DatabaseUnavailableError(`${store.description} is down`, 'statement')
  }
  const made: ControlledStore = {
    description: store.description,
    isDown: false,
    onApply: undefined,
    silent: 0,
    written: [],
    load: async (model, keys) => {
      up()
      return await store.load(model, keys)
    },
    range: async (model, request) => {
      up()
      return await store.range(model, request)
    },
    drop: async (model) => {
      up()
      await store.drop(model)
    },
    parked: async (model) => (await store.parked?.(model)) ?? [],
    apply: async (model, batch) => {
      up()
      if ((await made.onApply?.(batch)) === false) return 'lost'
      const outcome = await store.apply(model, batch)
      if (outcome === 'applied') made.written.push(batch)
      if (made.silent-- > 0) throw new DatabaseUnavailableError('the answer was lost', 'commit')
      return outcome
    },
  }
  return made
}

/** A door that stays shut until it is opened. */
export function gate(): { readonly passed: Promise<void>; readonly reached: Promise<void>; arrive(): void; open(): void } {
  let open = () => {}
  let arrive = () => {}
  const passed = new Promise<void>((resolve) => {
    open = resolve
  })
  const reached = new Promise<void>((resolve) => {
    arrive = resolve
  })
  return { passed, reached, open, arrive }
}
