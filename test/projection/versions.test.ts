import { type Database, type } from 'headwater'
import { memory } from 'headwater/memory'
import { postgres } from 'headwater/postgres'
import { beforeEach, describe, expect, test } from 'vitest'
import { z } from 'zod'
import { finishBuild, switchTo } from '../../src/projection/build.ts'
import { locateProjection } from '../../src/projection/locate.ts'
import { projection } from '../../src/projection/projection.ts'
import { readProjections } from '../../src/projection/registry.ts'
import { documentReader } from '../../src/read-model/document-reader.ts'
import { balances } from '../support/balances.ts'
import { controlled } from '../support/controlled-store.ts'
import { databases, postgresUrl } from '../support/databases.ts'
import { account, type Ledger, openLedger } from '../support/ledger.ts'
import { projectionSuite } from '../support/projection-suite.ts'
import { waitUntil } from '../support/wait.ts'

for (const target of databases) {
  describe.skipIf(target.skip)(`the versions of a projection on ${target.name}`, () => {
    let database: Database
    let schema: string
    let ledger: Ledger
    const { opened, workers, started, stopped, statusOf, handleOf } = projectionSuite(target, () => ledger)

    beforeEach(() => {
      ;({ database, schema, ledger } = opened())
    })

    test('an older process folds nothing for a newer model, and reads it', async () => {
      const newer = await started(balances({ version: 3, factor: 10 }))
      await ledger.append('a', ['Opened', { owner: 'ann' }], ['Deposited', { amount: 5 }])
      await newer.settle()
      const older = await started(balances({ version: 2 }))
      await older.settle()
      expect(older.own).toEqual([])
      expect(older.versions.map(({ version, state }) => [version, state])).toEqual([[3, 'live']])
      const { store, model } = locateProjection(older, 'balances')
      expect(await documentReader(store, model, { check: 'strict' }).get('a')).toEqual({ owner: 'ann', balance: 50 })
    })

    test('rollback needs the old version to have caught up; retired versions are dropped', async () => {
      const first = await started(balances())
      await ledger.append('a', ['Opened', { owner: 'ann' }], ['Deposited', { amount: 5 }])
      await first.settle()
      const second = await started(balances({ version: 2, factor: 10 }))
      await second.settle()
      await ledger.append('a', ['Deposited', { amount: 1 }])
      await Promise.all([first.settle(), second.settle()])
      expect(await handleOf(second).differences()).toMatchObject({ keysCompared: 1, added: 0, removed: 0, changed: 1, complete: true })
      await handleOf(second).rollback()
      expect(await ledger.rows('balances')).toMatchObject({ a: { balance: 6 } })
      expect(await statusOf(second)).toMatchObject({ version: 1, state: 'live' })
      await ledger.append('a', ['Deposited', { amount: 1 }])
      await Promise.all([first.settle(), second.settle()])
      expect(await statusOf(second)).toMatchObject({ version: 1, state: 'live' })
      await handleOf(second).rollback()
      await stopped(first)
      await ledger.append('a', ['Deposited', { amount: 1 }])
      await second.settle()
      await expect(handleOf(second).rollback()).rejects.toMatchObject({ code: 'building' })
      expect(await ledger.rows('balances')).toMatchObject({ a: { balance: 80 } })
      await stopped(second)
      const third = await started(balances({ version: 2, factor: 10 }), { rollbackWindowMs: 0 })
      await third.settle()
      expect(third.versions.map(({ version }) => version)).toEqual([2])
      const { rows } = await database.query(`select to_regclass('"${schema}".balances_v1') as gone`)
      expect(rows).toEqual([{ gone: null }])
    })

    test('a build that does not verify does not serve', async () => {
      await ledger.append('a', ['Opened', { owner: 'ann' }], ['Deposited', { amount: 5 }])
      let calls = 0
      const fickle = projection('fickle', {
        from: [account],
        row: z.object({ n: z.int() }),
        on: { Opened: () => ({ n: ++calls }) },
      })
      const running = await started(fickle)
      await running.settle()
      expect(await statusOf(running, 'fickle')).toMatchObject({
        state: 'stopped',
        version: undefined,
        error: expect.stringMatching(/did not verify/),
      })
    })

    test('a definition whose indexes changed under the same version is refused', async () => {
      await started(balances())
      const other = projection('balances', {
        ...(balances()['~projection'] as object),
        key: undefined,
        store: undefined,
        indexes: { other: ['balance'] },
      } as never)
      await expect(started(other)).rejects.toThrow(/raise "version"/)
      workers.pop()
    })

    test('a build is finished only when all of it is there', async () => {
      await ledger.append('a', ['Opened', { owner: 'ann' }], ['Deposited', { amount: 5 }])
      const running = await started(balances(), { fold: false })
      const [own] = running.own
      if (!own) throw new Error('not registered')
      expect(await finishBuild(ledger.runtime, own, new AbortController().signal)).toBe(false)
      await running.refresh()
      expect(running.versions).toMatchObject([{ state: 'building', active: false }])
      const folding = await started(balances())
      await folding.settle()
      expect(folding.versions).toMatchObject([{ state: 'live', active: true }])
    })

    test('a build waits a moment for ranges that others fold', async () => {
      await ledger.append('a', ['Opened', { owner: 'ann' }], ['Deposited', { amount: 5 }])
      const store = memory()
      const running = await started(balances({ store }))
      await running.settle()
      await stopped(running)
      const looking = await started(balances({ store }), { fold: false })
      const [own] = looking.own
      if (!own) throw new Error('not registered')
      let looks = 0
      const lagging = controlled(store)
      lagging.load = async (model, keys) => {
        const seen = await store.load(model, keys)
        return ++looks < 3 ? { ...seen, checkpoint: { position: 1, eventId: null } } : seen
      }
      expect(await finishBuild(ledger.runtime, { ...own, store: lagging }, new AbortController().signal)).toBe(true)
      expect(looks).toBeGreaterThan(2)
    })

    test('rows in a store that nobody here uses: building while others are on their way, then what to do', async () => {
      await ledger.append('a', ['Opened', { owner: 'ann' }])
      const running = await started(balances({ store: memory() }))
      await running.settle()
      await stopped(running)
      const moving = await started(balances({ version: 2 }), { fold: false })
      const located = async () => locateProjection(moving, 'balances')
      await expect(located()).rejects.toMatchObject({
        code: 'building',
        message: expect.stringContaining('in memory, which this process does not use'),
      })
      expect(await statusOf(moving)).toMatchObject({ available: false, error: expect.stringContaining('does not use') })
      await database.query(`update "${schema}".projection set state = 'stopped' where version = 2`)
      await moving.refresh()
      await expect(located()).rejects.toMatchObject({ code: 'stopped', message: expect.stringContaining('rollback()') })
    })

    describe.skipIf(target.name === 'pglite')('a switch', () => {
      /** Runs `first`, begins the switch, lets it come to a lock, runs `then`, and commits. */
      async function switchedAmid(first: string, then: string): Promise<boolean> {
        await ledger.append('a', ['Opened', { owner: 'ann' }])
        const running = await started(balances())
        await running.settle()
        await stopped(running)
        await database.query(`update "${schema}".projection set state = 'building'; update "${schema}".read_model set active = null`)
        const [version] = await readProjections(database, schema)
        if (!version) throw new Error('not registered')
        // Within a transaction its database refuses other calls.
        const other = postgres(postgresUrl, { poolSize: 1 })
        const { switching } = await other.transaction(async (transaction) => {
          await transaction.query(`update "${schema}".${first}`)
          const switching = switchTo(ledger.runtime, version)
          for (let waits = 0; waits === 0; ) {
            const { rows } = await database.query<{ waits: number }>(
              `select count(*)::int as waits from pg_stat_activity where wait_event_type = 'Lock' and query like '%"${schema}".%'`,
            )
            waits = rows[0]?.waits ?? 0
          }
          await transaction.query(`update "${schema}".${then}`)
          return { switching }
        })
        await other.close()
        return await switching
      }

      test('does not undo a stop that came before it', async () => {
        expect(await switchedAmid(`projection set state = 'stopped', error = 'because'`, 'projection set mode = mode')).toBe(false)
        expect(await readProjections(database, schema)).toMatchObject([{ state: 'stopped', error: 'because', active: false }])
      })

      test('and a registration do not wait for each other crosswise', async () => {
        expect(await switchedAmid('read_model set seen_at = clock_timestamp()', 'projection set mode = mode')).toBe(true)
      })
    })

    test('one that moves to another store is answered from the first until it has been built, and its rows go from where they are', async () => {
      const [x, y] = ['x', 'y'].map((description) => Object.assign(memory(), { description }))
      // What keeps the first store known to a process with the new definition.
      const others = projection('others', { from: [account], row: type<object>(), on: { Opened: () => ({}) }, ...(x && { store: x }) })
      const first = await started([balances({ ...(x && { store: x }) }), others])
      await ledger.append('a', ['Opened', { owner: 'ann' }], ['Deposited', { amount: 5 }])
      await first.settle()
      const model = first.own.find(({ version }) => version.name === 'balances')?.model
      await stopped(first)
      const moved = [balances({ version: 2, factor: 10, ...(y && { store: y }) }), others]
      const looking = await started(moved, { fold: false })
      const before = locateProjection(looking, 'balances')
      expect(await documentReader(before.store, before.model, { check: 'strict' }).get('a')).toEqual({ owner: 'ann', balance: 5 })
      const second = await started(moved, { rollbackWindowMs: 0 })
      await second.settle()
      const after = locateProjection(second, 'balances')
      expect(await documentReader(after.store, after.model, { check: 'strict' }).get('a')).toEqual({ owner: 'ann', balance: 50 })
      await waitUntil(async () => {
        await second.tend()
        return second.versions.every(({ name, version }) => name !== 'balances' || version === 2)
      })
      expect(model && (await x?.load(model, ['a']))).toMatchObject({ checkpoint: null, rows: [] })
    })

    test('a changed handler under the same version is warned of', async () => {
      const warned: string[] = []
      ledger = await openLedger(database, schema, { log: (level, message) => void (level === 'warn' && warned.push(message)) })
      await started(balances())
      await started(balances())
      expect(warned).toEqual([])
      const changed = projection('balances', {
        ...(balances()['~projection'] as object),
        key: undefined,
        store: undefined,
        on: { Opened: () => ({ owner: 'x', balance: 0 }) },
      } as never)
      await started(changed)
      expect(warned).toEqual([expect.stringMatching(/code looks changed, but "version" is still 1/)])
    })
  })
}
