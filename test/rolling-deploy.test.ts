import type { Database, Store } from 'headwater'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import type { StoreAddresses } from './process/counter-worker.ts'
import {
  type CounterEvent,
  folded,
  type Model,
  openStore,
  type Release,
  type ReleaseArgument,
  releaseTables,
  rowSchemas,
  type Stage,
  selects,
} from './process/releases.ts'
import { type Child, onLine, startChild } from './support/child.ts'
import { databases, freshSchema, postgresUrl } from './support/databases.ts'
import { readHistory, recordHistory } from './support/release-history.ts'
import { isLong, seed, seeded } from './support/seed.ts'
import { mongodbUrl, redisMissing, redisUrl } from './support/store-addresses.ts'
import { run, stores } from './support/stores.ts'
import { pause, waitUntil } from './support/wait.ts'

const server = databases.find(({ name }) => name === 'postgres')

type Place = keyof StoreAddresses | 'home'

/** Why there is no such place here, or false. */
const missing: Readonly<Record<Place, string | false>> = {
  home: false,
  postgres: false,
  redis: await redisMissing(),
  mongodb: stores.find(({ name }) => name === 'mongodb')?.skip ?? false,
}

interface Entry {
  readonly name: string
  readonly version: number
  readonly key: string
  readonly row: unknown
}

/** A version of a read model in the database. */
interface Version {
  readonly name: string
  readonly version: number
  readonly state: string
  readonly active: boolean
  /** Whether it lacks nothing that is committed. */
  readonly level: boolean
}

const day = 24 * 60 * 60 * 1000

describe.skipIf(server?.skip)(`two releases beside each other, seed ${seed}`, () => {
  let database: Database
  let schema: string
  let tables: string
  let addresses: StoreAddresses
  /** Undefined: the write database. */
  let store: Store | undefined
  let where: Place
  let random = seeded(seed)
  let started = { 1: 0, 2: 0 }
  /** What clients were told, in any process. */
  let wrong: unknown[] = []
  let failed: { readonly name: string; readonly failed: string }[] = []
  let answered = 0
  const children = new Set<Child>()
  /** Those whose clients have ended. */
  const over = new Set<Child>()

  beforeEach(async () => {
    if (!server) throw new Error('no server')
    schema = freshSchema()
    random = seeded(seed)
    started = { 1: 0, 2: 0 }
    wrong = []
    failed = []
    answered = 0
    database = await server.open()
    tables = (await database.query<{ schema: string }>('select current_schema() as schema')).rows[0]?.schema ?? ''
    await database.query(releaseTables)
  })

  /** The read models of a release are in one place, so that processes start soon. */
  function openPlace(place: Place): void {
    const everywhere: Required<StoreAddresses> = {
      redis: { url: redisUrl, prefix: `${schema}:` },
      postgres: { url: postgresUrl, schema: freshSchema('rows') },
      mongodb: { url: mongodbUrl, database: run },
    }
    addresses = place === 'home' ? {} : { [place]: everywhere[place] }
    store = openStore(addresses)
    where = place
  }

  afterEach(async () => {
    for (const child of children) child.process.kill('SIGKILL')
    await Promise.all([...children].map((child) => child.exited()))
    children.clear()
    for (const { name, version } of await versions().catch(() => [])) {
      await store?.drop({ owner: schema, name, version, indexes: [] }).catch(() => undefined)
    }
    await store?.close?.()
    await database.query(`drop schema if exists "${schema}" cascade`)
    await database.close()
  })

  async function worker(release: Release, rollbackWindowMs: number): Promise<Child> {
    const client = `r${release}n${++started[release]}`
    const argument: ReleaseArgument = {
      ...{ url: postgresUrl, tables, schema, stores: addresses, release, client, rollbackWindowMs },
      seed: seed + 100 * release + started[release],
    }
    const child = startChild('release-worker', argument)
    children.add(child)
    onLine(child, (line) => {
      if (line === 'ready') return
      const told = JSON.parse(line) as { readonly answered?: number; readonly failed?: string; readonly name: string }
      if (told.answered !== undefined) {
        answered += told.answered
        over.add(child)
      } else if (told.failed === undefined) wrong.push({ client, ...told })
      else failed.push({ name: told.name, failed: told.failed })
    })
    expect(await child.line()).toBe('ready')
    return child
  }

  function modelOf(name: string): Model {
    return name.slice(0, name.indexOf('_')) as Model
  }

  async function versions(): Promise<readonly Version[]> {
    const s = `"${schema}"`
    const { rows } = await database.query<Version>(`
      select v.name, v.version, v.state, coalesce(r.active = v.id, false) as active,
        not exists (select from ${s}.mark m where m.view = v.id) and not exists (select from ${s}.view_store t where t.view = v.id and t.filling) as level
      from ${s}.view v join ${s}.read_model r on r.name = v.name
      union all
      select p.name, p.version, p.state, coalesce(r.active = p.id, false),
        (select min(c.position) from ${s}.checkpoint c where c.projection = p.id) = (select coalesce(max(position), 0) from ${s}.event)
      from ${s}.projection p join ${s}.read_model r on r.name = p.name order by 1, 2`)
    return rows
  }

  /** Until the versions that a release has are those that queries read, and hold everything if nobody writes. */
  async function live(release: Release, { level }: { readonly level: boolean }): Promise<void> {
    const wanted = [`totals_${where} ${release}`, `prices_${where} ${release}`, `seen_${where} 1`]
    for (;;) {
      await expectHistory()
      const now = await versions()
      const there = now.filter((one) => one.active && one.state === 'live' && (one.level || !level))
      const names = new Set(there.map(({ name, version }) => `${name} ${version}`))
      // Everybody keeps the old version of a view, as long as there is one.
      const kept = now.every((one) => modelOf(one.name) !== 'prices' || one.level)
      if (wanted.every((name) => names.has(name)) && (kept || !level)) return
      await pause(50)
    }
  }

  async function setStage(stage: Stage): Promise<void> {
    await database.query('update stage set stage = $1', [stage])
  }

  /** Every row of a version, wherever it is. Undefined: the version was dropped meanwhile. */
  async function rowsOf({ name, version }: Version): Promise<readonly Entry[] | undefined> {
    try {
      if (store) {
        const request = { index: undefined, from: '', to: '\u{10ffff}', reverse: false, limit: 10_000 }
        const { rows } = await store.range({ owner: schema, name, version, indexes: [] }, request)
        return rows.map(({ key, row }) => ({ name, version, key, row: JSON.parse(row) as unknown }))
      }
      const row = modelOf(name) === 'prices' ? 'id as key, to_jsonb(t)' : 'key, row'
      const { rows } = await database.query<{ key: string; row: unknown }>(`select ${row} as row from "${schema}"."${name}_v${version}" t`)
      return rows.map((entry) => ({ name, version, ...entry }))
    } catch (error) {
      const still = (await versions()).some((one) => one.name === name && one.version === version)
      if (still) throw error
      return undefined
    }
  }

  /** The rows that do not look like those of their version. */
  function misshapen(entries: readonly Entry[]): readonly Entry[] {
    return entries.filter(({ name, version, row }) => {
      const schemas: Readonly<Record<number, (typeof rowSchemas.totals)[1 | 2]>> = rowSchemas[modelOf(name)] as never
      return schemas[version]?.safeParse(row).success !== true
    })
  }

  /** Each row that a folded version ever had under a key, and the last of them, by the words of its fold and nothing of the library's. */
  async function pastsOf(model: 'totals' | 'seen', version: number) {
    const { rows: events } = await database.query<{ stream: string; type: string; data: { by?: number } }>(
      `select stream, type, data from "${schema}".event order by position`,
    )
    const last = new Map<string, unknown>()
    const ever = new Set<string>()
    for (const { stream, type, data } of events) {
      const key = stream.slice('counter-'.length)
      last.set(key, folded(model, version, last.get(key), { type, ...data } as CounterEvent))
      ever.add(ordered([key, last.get(key)]))
    }
    return { ever, last: [...last].filter(([, row]) => row !== undefined) }
  }

  function ordered([key, row]: readonly [string, unknown]): string {
    return JSON.stringify([key, Object.entries((row ?? {}) as object).sort(([a], [b]) => (a < b ? -1 : 1))])
  }

  /** Looks at rows while everything runs: their shapes at once, what is in them when all events are known. */
  async function sample(seen: Entry[]): Promise<void> {
    const now = await versions()
    const one = now[random(now.length)]
    const entries = (one && (await rowsOf(one))) ?? []
    expect(misshapen(entries)).toEqual([])
    seen.push(...entries)
  }

  /** What each version that is kept must hold when nobody writes any more. */
  async function expectRight(seen: readonly Entry[]): Promise<void> {
    const pasts = new Map<string, Awaited<ReturnType<typeof pastsOf>>>()
    for (const [model, version] of [
      ['totals', 1],
      ['totals', 2],
      ['seen', 1],
    ] as const) {
      pasts.set(`${model} ${version}`, await pastsOf(model, version))
    }
    const never = ({ name, version, key, row }: Entry) => pasts.get(`${modelOf(name)} ${version}`)?.ever.has(ordered([key, row])) === false
    expect(seen.filter(never)).toEqual([])
    for (const one of await versions()) {
      const entries = await rowsOf(one)
      if (!entries) continue
      expect(misshapen(entries)).toEqual([])
      expect(entries.filter(never)).toEqual([])
      const stored = entries.map(({ key, row }) => ordered([key, row])).sort()
      // An old version of a projection goes no further than its release's code; that of a view is its SELECT while it is kept.
      if (modelOf(one.name) === 'prices') {
        const { rows } = await database.query<{ id: string }>(selects[one.version as 1 | 2])
        expect([one.name, one.version, stored]).toEqual([one.name, one.version, rows.map((row) => ordered([row.id, row])).sort()])
      } else if (one.active) {
        const { last } = pasts.get(`${modelOf(one.name)} ${one.version}`) ?? { last: [] }
        expect([one.name, one.version, stored]).toEqual([one.name, one.version, last.map(ordered).sort()])
      }
    }
  }

  /** What may become of versions, and what may not. */
  async function expectHistory(): Promise<void> {
    const history = await readHistory(database)
    expect(history.filter(({ version }) => version > 2)).toEqual([])
    const activated = new Map<string, number[]>()
    for (const { name, version, state } of history) if (state === 'active') activated.set(name, [...(activated.get(name) ?? []), version])
    for (const [name, order] of activated) expect([name, order]).toEqual([name, [...order].sort()])
    const stops = history.filter(({ state }) => state === 'stopped')
    // Release 1 meets an event that it does not know. Each of its processes learns that once, and lets others fold what it cannot.
    expect(stops.filter(({ version, code }) => version !== 1 || code !== 'unknown_event')).toEqual([])
    const times = new Map<string, number>()
    for (const { name } of stops) times.set(name, (times.get(name) ?? 0) + 1)
    expect([...times].filter(([, count]) => count > started[1])).toEqual([])
  }

  for (const place of ['home', 'redis', 'postgres', 'mongodb'] as const) {
    for (const [kept, rollbackWindowMs] of [
      ['kept', day],
      ['dropped soon', 1500],
    ] as const) {
      // Each place and each way is for the long form; the short one has a place where rows are read in a snapshot, and one where they are not.
      const isShort = (place === 'home' && kept === 'kept') || (place === 'redis' && kept !== 'kept')
      test.skipIf(missing[place] || !(isLong || isShort))(
        `killed at random while clients write and ask, the rows in ${place}, the old version ${kept}: nothing is mixed, and nothing goes back`,
        async () => {
          openPlace(place)
          await deploy(rollbackWindowMs)
        },
        isLong ? 600_000 : 240_000,
      )
    }
  }

  async function deploy(rollbackWindowMs: number): Promise<void> {
    const old = [await worker(1, rollbackWindowMs)]
    await recordHistory(database, schema)
    old.push(await worker(1, rollbackWindowMs))
    await live(1, { level: false })
    await setStage('known')
    const running = { 1: old, 2: await Promise.all([worker(2, rollbackWindowMs), worker(2, rollbackWindowMs)]) }
    const seen: Entry[] = []
    const until = Date.now() + (isLong ? 60_000 : 0)
    for (let kills = 0; kills < 8 || Date.now() < until; kills++) {
      if (kills === 4) {
        await live(2, { level: false })
        await setStage('new')
      }
      await expectHistory()
      await sample(seen)
      await pause(random(4) === 0 ? random(2000) : random(300))
      const release = ([1, 2] as const)[random(2)] ?? 1
      const at = random(2)
      const victim = running[release][at]
      victim?.process.kill('SIGKILL')
      if (victim) children.delete(victim)
      running[release][at] = await worker(release, rollbackWindowMs)
    }
    await setStage('over')
    const all = [...running[1], ...running[2]]
    await waitUntil(() => all.every((each) => over.has(each) || each.process.exitCode !== null))
    await live(2, { level: true })
    await expectRight(seen)
    await expectHistory()
    for (const each of all) each.process.kill('SIGTERM')
    expect(await Promise.all(all.map((each) => each.ended()))).toEqual(all.map(() => 'well'))
    expect(wrong).toEqual([])
    // Whoever folds may have to be followed by another; `seen` by one that knows more. Nothing else keeps an answer waiting.
    expect(failed.filter((one) => one.failed !== 'behind' && !(one.failed === 'stopped' && modelOf(one.name) === 'seen'))).toEqual([])
    expect(answered).toBeGreaterThan(0)
  }
})
