import { quote } from '../database/identifier.ts'
import type { ViewRuntime, ViewVersion } from './registry.ts'
import { type RowDifference, verifyStored } from './store-verify.ts'

interface Compared {
  readonly checked: number
  readonly keys: readonly string[]
  readonly kinds: readonly RowDifference['kind'][]
  readonly waiting: readonly boolean[]
}

const rangeSize = 1000

/**
 * Compares a version with its SELECT, every key, some, or a random sample, range by range in short snapshots. In one snapshot a difference without
 * a mark that explains it is drift; one with a mark is looked at again until the mark is gone.
 */
export async function verify(
  runtime: ViewRuntime,
  version: ViewVersion,
  options: { readonly sample?: number; readonly keys?: readonly string[] } = {},
): Promise<{ keysChecked: number; differences: readonly RowDifference[] }> {
  if (version.store !== null) return await verifyStored(runtime, version, options)
  const differences: RowDifference[] = []
  const unsure: string[] = []
  let keysChecked = 0
  const look = async (sample: readonly string[] | null, from: string | null, to: string | null, counts: boolean) => {
    const { rows } = await runtime.database.query<Compared>(`select * from ${quote(runtime.schema)}.compare($1, $2::text[], $3, $4)`, [
      version.id,
      sample,
      from,
      to,
    ])
    for (const compared of rows) {
      if (counts) keysChecked += compared.checked
      compared.keys.forEach((key, i) => {
        const kind = compared.kinds[i] ?? 'different'
        if (compared.waiting[i]) unsure.push(key)
        else differences.push({ key, kind })
      })
    }
  }
  if (options.keys !== undefined) {
    await look(options.keys, null, null, true)
  } else if (options.sample === undefined) {
    const bounds: readonly (string | null)[] = [null, ...(await boundaries(runtime, version)), null]
    for (let i = 0; i + 1 < bounds.length; i++) await look(null, bounds[i] ?? null, bounds[i + 1] ?? null, true)
  } else {
    await look(await randomKeys(runtime, version, options.sample), null, null, true)
  }
  await lookAgain(runtime, version, unsure, (keys) => look(keys, null, null, false))
  return { keysChecked, differences }
}

/** Differences under a mark: once the marks of that moment are gone they must be gone too. Parked keys stay unsure and are not drift. */
async function lookAgain(
  runtime: ViewRuntime,
  version: ViewVersion,
  unsure: string[],
  look: (keys: readonly string[]) => Promise<void>,
): Promise<void> {
  for (let round = 0; unsure.length > 0 && round < 100; round++) {
    const keys = unsure.splice(0)
    const { rows } = await runtime.database.query<{ key: string }>(
      `select key from ${quote(runtime.schema)}.parked where view = $1 and key = any ($2::text[])`,
      [version.id, keys],
    )
    const parked = new Set(rows.map(({ key }) => key))
    const rest = keys.filter((key) => !parked.has(key))
    if (rest.length === 0) return
    await runtime.clock.sleep(Math.min(500, 10 * 2 ** round))
    await look(rest)
  }
}

function keyTextSql(version: ViewVersion): string {
  const texts = version.shape.key.map((column) => `${quote(column)}::text`)
  return texts.length === 1 ? (texts[0] ?? '') : `jsonb_build_array(${texts.join(', ')})::text`
}

async function boundaries(runtime: ViewRuntime, version: ViewVersion): Promise<readonly string[]> {
  const { rows } = await runtime.database.query<{ k: string }>(
    `select k from (select ${keyTextSql(version)} as k, row_number() over (order by ${version.shape.key.map(quote).join(', ')}) as n
     from ${quote(runtime.schema)}.${quote(version.table)}) s where n % ${rangeSize} = 0 order by n`,
  )
  return rows.map(({ k }) => k)
}

async function randomKeys(runtime: ViewRuntime, version: ViewVersion, count: number): Promise<readonly string[]> {
  const { rows } = await runtime.database.query<{ k: string }>(
    `select ${keyTextSql(version)} as k from ${quote(runtime.schema)}.${quote(version.table)} order by random() limit $1`,
    [count],
  )
  return rows.map(({ k }) => k)
}

/** Has keys selected again, ahead of everything else. */
export async function enqueueKeys(runtime: ViewRuntime, version: ViewVersion, keys: readonly string[]): Promise<void> {
  await runtime.database.query(
    `insert into ${quote(runtime.schema)}.mark (view, lane, map, keys) select $1, 0, 0, array_agg(k) from unnest($2::text[]) with ordinality s(k, n) group by (n - 1) / 16`,
    [version.id, keys],
  )
}
