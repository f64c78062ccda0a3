import { type Database, headwater, type Mode, silentLog } from 'headwater'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { blogTables, postsView } from './process/blog.ts'
import { randomTables, randomViews, wrongViews } from './process/random-writes.ts'
import { type Child, startChild } from './support/child.ts'
import { databases, freshSchema, postgresUrl } from './support/databases.ts'
import { isLong, seed } from './support/seed.ts'

const server = databases.find(({ name }) => name === 'postgres')

describe.skipIf(server?.skip)(`several processes, seed ${seed}`, () => {
  let database: Database
  let schema: string
  let tables: string
  const children = new Set<Child>()

  beforeEach(async () => {
    schema = freshSchema()
    if (!server) throw new Error('no server')
    database = await server.open()
    tables = (await database.query<{ schema: string }>('select current_schema() as schema')).rows[0]?.schema ?? ''
  })

  afterEach(async () => {
    for (const child of children) child.process.kill('SIGKILL')
    children.clear()
    await database.query(`drop schema if exists "${schema}" cascade`).catch(() => undefined)
    await database.close()
  })

  function start(name: string, argument: Readonly<Record<string, unknown>>): Child {
    const child = startChild(name, { url: postgresUrl, tables, schema, ...argument })
    children.add(child)
    return child
  }

  for (const mode of ['sync', 'async'] as const satisfies readonly Mode[]) {
    test(`${mode}: workers killed at random while others write: every view is its SELECT in the end`, async () => {
      await database.query(randomTables)
      let random = seed
      const next = (below: number) => {
        random = (Math.imul(random, 1103515245) + 12345) & 0x7fffffff
        return random % below
      }
      let workers = [start('worker', { mode }), start('worker', { mode })]
      await Promise.all(workers.map((worker) => worker.line()))
      const writers = [1, 2].map((i) => start('writer', { seed: seed + i, runs: 60 }))
      let writing = true
      const written = Promise.all(writers.map((writer) => writer.exited())).then((codes) => {
        writing = false
        return codes
      })
      let kills = 0
      while (writing) {
        const victim = workers[next(workers.length)]
        await Promise.race([written, new Promise((resolve) => setTimeout(resolve, next(150)))])
        if (!victim) break
        victim.process.kill('SIGKILL')
        kills++
        const fresh = start('worker', { mode })
        workers = [...workers.filter((worker) => worker !== victim), fresh]
        await fresh.line()
      }
      expect(await written).toEqual([0, 0])
      expect(kills).toBeGreaterThan(2)
      const app = headwater({ database, schema, readModels: randomViews(mode), log: silentLog })
      await app.start()
      await app.settle()
      expect((await app.status()).readModels.filter(({ state, error }) => state !== 'live' || error)).toEqual([])
      expect(await wrongViews(database, schema)).toEqual([])
      for (const worker of workers) worker.process.kill('SIGTERM')
      expect(await Promise.all(workers.map((worker) => worker.exited()))).toEqual([0, 0])
    }, 180_000)
  }

  // The long form takes minutes: `npm run test:faults`.
  const pairs = isLong ? 10_000 : 1000
  test(`${pairs} reads under tokens in 4 processes, during renames that fan out over 100,000 rows, never answer from before their writes`, async () => {
    await database.query(blogTables)
    await database.query(`insert into users values (1, 'popular'), (2, 'quiet');
      insert into posts select i, case when i <= 100000 then 1 else 2 end, 'post ' || i from generate_series(1, 100100) i`)
    const app = headwater({
      database,
      schema,
      readModels: { inStep: postsView('sync', 'in_step'), soonAfter: postsView('async', 'soon_after') },
      log: silentLog,
    })
    await app.start()
    await app.settle()
    const clients = [0, 1, 2, 3].map((i) => start('token-client', { pairs: pairs / 4, first: 100_001 + i * 10 }))
    const lines = Promise.all(clients.map((client) => client.line()))
    let reading = true
    const read = () => {
      reading = false
    }
    lines.then(read, read)
    let renames = 0
    while (reading) {
      await database.query('update users set name = $1 where id = 1', [`popular ${++renames}`])
      await Promise.race([lines, new Promise((resolve) => setTimeout(resolve, 20_000))])
    }
    const reports = (await lines).map((line) => JSON.parse(line) as { wrong: number; examples: string[]; tokenLength: number })
    expect(reports.map(({ wrong, examples }) => ({ wrong, examples }))).toEqual(reports.map(() => ({ wrong: 0, examples: [] })))
    expect(Math.max(...reports.map(({ tokenLength }) => tokenLength))).toBeLessThan(600)
    await app.settle()
    for (const name of ['in_step', 'soon_after']) expect((await app.readModel(name).verify({ sample: 2000 })).differences).toEqual([])
  }, 900_000)
})
