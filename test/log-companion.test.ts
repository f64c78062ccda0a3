import { randomUUID } from 'node:crypto'
import type { Database } from 'headwater'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import type { AppendCompanion, AppendOutcome, AppendRequest, CompanionPart, CompanionRow } from '../src/log/log.ts'
import { type LogPlace, logPlace, statuses, to } from './log/log-place.ts'
import { databases } from './support/databases.ts'

type Settled = { readonly outcomes: readonly (AppendOutcome | Error)[]; readonly left: readonly number[] }

for (const target of databases) {
  describe.skipIf(target.skip)(`sync projections in an append on ${target.name}`, () => {
    let place: LogPlace
    let projection: number
    let settled: Settled[]
    let database: Database
    beforeAll(async () => {
      database = await target.open()
    })
    afterAll(() => database.close())

    beforeEach(async () => {
      place = await logPlace(database)
      projection = await makeProjection('balances')
      settled = []
    })

    async function makeProjection(name: string): Promise<number> {
      const { database, schema } = place
      await database.query(`insert into "${schema}".read_model (name) values ($1)`, [name])
      const { rows } = await database.query<{ id: number }>(
        `insert into "${schema}".projection (name, version, code_hash, mode, state, table_name, shape)
         values ($1, 1, '', 'sync', 'live', $1 || '_v1', '{}') returning id`,
        [name],
      )
      await database.query(
        `create table "${schema}"."${name}_v1" (key text collate "C" primary key, row jsonb not null, position bigint not null, version integer,
         texts text[] collate "C")`,
      )
      const id = rows[0]?.id ?? 0
      await database.query(`insert into "${schema}".checkpoint (projection, first, last, position) values ($1, 0, 63, 0)`, [id])
      return id
    }

    const row = (key: string, was: number | null, value: unknown, over?: Partial<CompanionRow>): CompanionRow => ({
      projection,
      key,
      was,
      event: 0,
      version: null,
      row: value === null ? null : JSON.stringify(value),
      index: [],
      ...over,
    })

    /** A companion that adds the given parts to the requests of a group, in order. */
    function companion(...parts: readonly (CompanionPart | Error)[]): AppendCompanion {
      let next = 0
      return {
        oneByOne: true,
        prepare: async (requests) => ({
          projections: [projection],
          parts: requests.map(() => parts[next++] ?? { rows: [], needs: [] }),
          settled: (outcomes, left) => void settled.push({ outcomes, left }),
        }),
      }
    }

    async function appendTogether(parts: readonly (CompanionPart | Error)[], requests: readonly AppendRequest[]) {
      const log = place.log({ companion: companion(...parts) })
      return await Promise.all(requests.map((request) => log.append(request)))
    }

    const rows = async (name = 'balances') =>
      (await place.database.query(`select key, row, position, version, texts from "${place.schema}"."${name}_v1" order by key`)).rows
    const checkpoint = async (id = projection) =>
      (await place.database.query(`select position, event_id from "${place.schema}".checkpoint where projection = $1`, [id])).rows[0]
    const atHead = async () => {
      const { position, eventId } = await place.log().head()
      return { position, event_id: eventId }
    }

    test('rows are written with the events, and the checkpoint moves along', async () => {
      const parts = [
        { rows: [row('a', 0, { n: 1 }, { event: 1, version: 99, index: ['x', 'ü "\\'] })], needs: [] },
        { rows: [row('b', 0, { n: 2 })], needs: [] },
      ]
      await appendTogether(parts, [to('a', 0, 2), to('b', 0, 3)])
      expect(await rows()).toEqual([
        { key: 'a', row: { n: 1 }, position: 2, version: 2, texts: ['x', 'ü "\\'] },
        { key: 'b', row: { n: 2 }, position: 3, version: null, texts: [] },
      ])
      expect(await checkpoint()).toEqual(await atHead())
      expect(settled).toMatchObject([{ outcomes: [{ status: 'appended' }, { status: 'appended' }], left: [] }])
      await appendTogether([{ rows: [row('a', 2, null)], needs: [] }], [to('a')])
      expect(await rows()).toMatchObject([{ key: 'b' }])
    })

    test('a row that is not the one it started from makes its request stale, and that one only', async () => {
      await appendTogether([{ rows: [row('a', 0, { n: 1 })], needs: [] }], [to('a')])
      const parts = [
        { rows: [row('a', 0, { n: 9 })], needs: [] },
        { rows: [row('b', 0, { n: 2 })], needs: [] },
        { rows: [row('c', 7, { n: 3 })], needs: [] },
        { rows: [row('d', 0, null)], needs: [] },
      ]
      const outcomes = await appendTogether(parts, [to('a'), to('b'), to('c'), to('d')])
      expect(statuses(outcomes)).toEqual(['stale', 'appended', 'stale', 'appended'])
      expect(await rows()).toMatchObject([
        { key: 'a', row: { n: 1 }, position: 1 },
        { key: 'b', row: { n: 2 }, position: 2 },
      ])
      expect(await checkpoint()).toEqual(await atHead())
    })

    test('requests of a group fold into one row: the last accepted one is written', async () => {
      const chained = [
        { rows: [row('k', 0, { n: 1 })], needs: [] },
        { rows: [row('k', null, { n: 2 })], needs: [0] },
        { rows: [row('k', null, { n: 3 })], needs: [0, 1] },
      ]
      expect(statuses(await appendTogether(chained, [to('a'), to('b'), to('c')]))).toEqual(['appended', 'appended', 'appended'])
      expect(await rows()).toMatchObject([{ key: 'k', row: { n: 3 }, position: 3 }])
    })

    test('what stands on a refused request is stale, not refused', async () => {
      const chained = [
        { rows: [row('k', 0, { n: 1 })], needs: [] },
        { rows: [row('k', null, { n: 2 })], needs: [0] },
        { rows: [row('k', null, { n: 3 })], needs: [0, 1] },
        { rows: [row('other', 0, { n: 4 })], needs: [] },
      ]
      const outcomes = await appendTogether(chained, [to('a'), to('b', 5), to('c'), to('d')])
      expect(statuses(outcomes)).toEqual(['appended', 'conflict', 'stale', 'appended'])
      expect(await rows()).toMatchObject([
        { key: 'k', row: { n: 1 }, position: 1 },
        { key: 'other', position: 2 },
      ])
    })

    test('a fold that fails fails its request alone; what stands on it is stale', async () => {
      const failure = new Error('fold')
      const parts = [
        { rows: [row('k', 0, { n: 1 })], needs: [] },
        failure,
        { rows: [row('l', null, { n: 3 })], needs: [1] },
        { rows: [row('k', null, { n: 4 })], needs: [0] },
      ]
      const log = place.log({ companion: companion(...parts) })
      const ended = await Promise.allSettled(['a', 'b', 'c', 'd'].map((stream) => log.append(to(stream))))
      expect(ended).toMatchObject([
        { value: { status: 'appended' } },
        { reason: failure },
        { value: { status: 'stale' } },
        { value: { status: 'appended' } },
      ])
      expect(await rows()).toMatchObject([{ key: 'k', row: { n: 4 }, position: 2 }])
      expect(settled).toMatchObject([{ outcomes: [{ status: 'appended' }, failure, { status: 'stale' }, { status: 'appended' }] }])
    })

    test('when preparing fails, the whole group does, and nothing is appended', async () => {
      const broken: AppendCompanion = { oneByOne: true, prepare: () => Promise.reject(new Error('no rows')) }
      await expect(place.log({ companion: broken }).append(to('a'))).rejects.toThrow('no rows')
      expect(await place.log().head()).toEqual({ position: 0, eventId: null })
    })

    test('a projection that is behind is left alone, and named', async () => {
      await place.log().append(to('a'))
      const outcomes = await appendTogether([{ rows: [row('b', 5, { n: 1 })], needs: [] }], [to('b')])
      expect(statuses(outcomes)).toEqual(['appended'])
      expect(settled).toMatchObject([{ left: [projection] }])
      expect(await rows()).toEqual([])
      expect(await checkpoint()).toMatchObject({ position: 0 })
    })

    test('a checkpoint over another event than the one that stands there is behind', async () => {
      await place.log().append(to('a'))
      await place.database.query(`update "${place.schema}".checkpoint set position = 1, event_id = $1`, [randomUUID()])
      await appendTogether([], [to('b')])
      expect(settled).toMatchObject([{ left: [projection] }])
    })

    test('a paused projection is left alone', async () => {
      await place.database.query(`update "${place.schema}".projection set state = 'paused'`)
      await appendTogether([{ rows: [row('b', 0, { n: 1 })], needs: [] }], [to('b')])
      expect(settled).toMatchObject([{ left: [projection] }])
      expect(await rows()).toEqual([])
    })

    test('the row of a parked key stays as it is', async () => {
      await place.database.query(`insert into "${place.schema}".parked_key (projection, key, position, reason) values ($1, 'k', 1, '')`, [
        projection,
      ])
      await appendTogether([{ rows: [row('k', 7, { n: 1 }), row('l', 0, { n: 2 })], needs: [] }], [to('b')])
      expect(await rows()).toMatchObject([{ key: 'l' }])
      expect(await checkpoint()).toEqual(await atHead())
    })

    test('an append of which nothing is accepted leaves everything as it is', async () => {
      const outcomes = await appendTogether([{ rows: [row('b', 0, { n: 1 })], needs: [] }], [to('b', 3)])
      expect(statuses(outcomes)).toEqual(['conflict'])
      expect(await rows()).toEqual([])
      expect(settled).toMatchObject([{ outcomes: [{ status: 'conflict' }], left: [] }])
    })

    test('several projections: each has its own rows', async () => {
      const second = await makeProjection('others')
      const both: AppendCompanion = {
        oneByOne: true,
        prepare: async () => ({
          projections: [projection, second],
          parts: [{ rows: [row('k', 0, { n: 1 }), row('k', 0, { n: 2 }, { projection: second, event: 1 })], needs: [] }],
          settled: () => {},
        }),
      }
      await place.log({ companion: both }).append(to('a', 0, 2))
      expect(await rows()).toMatchObject([{ row: { n: 1 }, position: 1 }])
      expect(await rows('others')).toMatchObject([{ row: { n: 2 }, position: 2 }])
      expect(await checkpoint(second)).toEqual(await atHead())
    })
  })
}
