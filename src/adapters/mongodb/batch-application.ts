import { type Batch, type Parked, type RowChange, refusedRow } from '../../index.ts'
import { BatchWriter, type RefusedRow, type RowWrite } from './batch-writer.ts'
import { whyNotHeld } from './holdable.ts'
import { movedTo, type State, standsAt } from './state.ts'
import type { Version } from './version.ts'

const tries = 20

/**
 * One batch on its way: rows first, then parked keys, then the checkpoint, which decides whether it counts. One that is lost may leave rows that are
 * newer than the checkpoint, and as right as those of the batch that won.
 */
export class BatchApplication {
  readonly #version: Version
  readonly #batch: Batch
  readonly #begun: State
  readonly #now: () => Date
  /** As it was last seen. */
  #state: State | undefined
  /** Whether the state says that keys may have been parked or taken back. */
  #isAnnounced = false

  /** @param state the state in which the batch's partitions stand where it begins */
  constructor(version: Version, batch: Batch, state: State, now: () => Date) {
    this.#version = version
    this.#batch = batch
    this.#begun = state
    this.#state = state
    this.#now = now
  }

  /** @param options.recount whether parked keys are to be counted in any case */
  async run({ recount }: { readonly recount: boolean }): Promise<'applied' | 'parked' | 'lost'> {
    const outcome = await this.#write(recount)
    if (outcome === 'lost' && this.#isAnnounced) await this.#countAgain()
    return outcome
  }

  async #write(recount: boolean): Promise<'applied' | 'parked' | 'lost'> {
    const { rows, park, unpark } = this.#batch
    const { writes, unheld } = this.#sorted(rows)
    if (park.length + unpark.length + unheld.length > 0 && !(await this.#announce())) return 'lost'
    const writer = this.#writer([...park, ...unheld.map(({ change }) => change)].map(({ key }) => key))
    if (!(await writer.passOver())) return 'lost'
    const written = await writer.write(writes)
    if (written === 'lost') return 'lost'
    const refused = [...written, ...unheld]
    if (refused.length > 0 && !(await this.#announce())) return 'lost'
    const parked = this.#parkedWith(refused)
    if (!(await writer.park(parked)) || !(await writer.takeBack(refused.map(({ change }) => change.key)))) return 'lost'
    if (await this.#advance(recount)) return refused.length > 0 ? 'parked' : 'applied'
    await writer.unparkFolded(parked)
    return 'lost'
  }

  /** What can be written, and what the server cannot hold. */
  #sorted(changes: readonly RowChange[]): { readonly writes: readonly RowWrite[]; readonly unheld: readonly RefusedRow[] } {
    const { holdable } = this.#version
    const writes: RowWrite[] = []
    const unheld: RefusedRow[] = []
    for (const change of changes) {
      const row: object | undefined = change.row === null ? undefined : JSON.parse(change.row)
      const texts = Object.fromEntries(change.index.map((text, i) => [`i${i}`, text]))
      const reason = row && whyNotHeld({ _id: change.key, row, texts }, holdable)
      if (reason === undefined) writes.push({ change, row, texts })
      else unheld.push({ change, reason })
    }
    return { writes, unheld }
  }

  #writer(parks: readonly string[]): BatchWriter {
    const { bulk, byKeys, update, long } = this.#version
    const look = (keys: readonly string[]) => byKeys.find(keys, { projection: { position: 1, parked: 1 } })
    return new BatchWriter(this.#batch, parks, { bulk, byKeys: look, update, long, now: this.#now })
  }

  #parkedWith(refused: readonly RefusedRow[]): readonly (Parked & { readonly key: string })[] {
    const unheld = refused.map(({ change, reason }) => refusedRow(this.#batch, change, reason))
    return [...unheld, ...this.#batch.park.filter(({ key }) => !unheld.some((each) => each.key === key))]
  }

  /**
   * Before keys are parked or taken back the state says so: if the batch breaks off, or is lost, they are counted again. A batch that slept until now
   * finds that it is lost, and leaves them alone.
   */
  async #announce(): Promise<boolean> {
    if (this.#isAnnounced) return true
    this.#isAnnounced = await this.#whileItStands(async (state) => this.#version.state.change(state, { uncounted: true }))
    return this.#isAnnounced
  }

  async #advance(recount: boolean): Promise<boolean> {
    const { partitions, to } = this.#batch
    return this.#whileItStands(async (state) => {
      const runs = movedTo(state, partitions, to)
      if (!recount && !this.#isAnnounced && !state.uncounted) return this.#version.state.change(state, { runs })
      return this.#version.state.change(state, { runs, parked: await this.#version.countParked(), uncounted: false })
    })
  }

  /** Other partitions may move at the same time: then it is tried again, for as long as these stand where they did. */
  async #whileItStands(change: (state: State) => Promise<State | undefined>): Promise<boolean> {
    for (let time = 0; time < tries; time++) {
      const state = this.#state
      if (state?.incarnation !== this.#begun.incarnation || !standsAt(state, this.#batch.partitions, this.#batch.from)) return false
      this.#state = await change(state)
      if (this.#state) return true
      this.#state = await this.#version.state.read()
    }
    return false
  }

  /** What a lost batch changed is counted by itself: no other may change anything for long. */
  async #countAgain(): Promise<void> {
    for (let time = 0; time < tries; time++) {
      const state = await this.#version.state.read()
      if (state?.incarnation !== this.#begun.incarnation) return
      if (await this.#version.state.change(state, { parked: await this.#version.countParked(), uncounted: false })) return
    }
  }
}
