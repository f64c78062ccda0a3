import { canonicalJson } from '../internal/json.ts'
import { afterKeys } from '../read-model/key-text.ts'
import { compareText } from '../read-model/order-text.ts'
import type { RangeRow, Store, StoredModel } from '../read-model/store.ts'

/** What a new version says otherwise than the one before it. A definition that changed differs by intent: this is for a person to look at. */
export interface VersionDifferences {
  readonly keysCompared: number
  /** Keys that the new one has and the old one has not. */
  readonly added: number
  readonly removed: number
  readonly changed: number
  /** Whether all keys were compared. */
  readonly complete: boolean
  readonly examples: readonly { readonly key: string; readonly before: unknown; readonly after: unknown }[]
}

interface Place {
  readonly store: Store
  readonly model: StoredModel
}

const page = 1000
const examplesMax = 5

/** Compares two versions by key, the first `keysMax` of them. What is written meanwhile may show as a difference. */
export async function versionDifferences(old: Place, next: Place, keysMax = 20_000): Promise<VersionDifferences> {
  const [before, after] = [rowsOf(old), rowsOf(next)]
  let [a, b] = [await before.next(), await after.next()]
  let [added, removed, changed, keysCompared] = [0, 0, 0, 0]
  const examples: VersionDifferences['examples'][number][] = []
  const show = (x: RangeRow | undefined, y: RangeRow | undefined) => {
    if (examples.length < examplesMax) examples.push({ key: (x ?? y)?.key ?? '', before: parsed(x), after: parsed(y) })
  }
  for (; keysCompared < keysMax && (!a.done || !b.done); keysCompared++) {
    const order = a.done ? 1 : b.done ? -1 : compareText(a.value.key, b.value.key)
    if (order < 0) {
      removed++
      show(a.value ?? undefined, undefined)
    } else if (order > 0) {
      added++
      show(undefined, b.value ?? undefined)
    } else if (canonicalJson(parsed(a.value ?? undefined)) !== canonicalJson(parsed(b.value ?? undefined))) {
      changed++
      show(a.value ?? undefined, b.value ?? undefined)
    }
    if (order <= 0) a = await before.next()
    if (order >= 0) b = await after.next()
  }
  return { keysCompared, added, removed, changed, complete: a.done === true && b.done === true, examples }
}

async function* rowsOf({ store, model }: Place): AsyncGenerator<RangeRow, undefined> {
  for (let from = ''; ; ) {
    const { rows } = await store.range(model, { index: undefined, from, to: afterKeys, reverse: false, limit: page })
    yield* rows
    const last = rows.at(-1)
    if (!last || rows.length < page) return
    from = `${last.key}\u0001`
  }
}

function parsed(row: RangeRow | undefined): unknown {
  return row && JSON.parse(row.row)
}
