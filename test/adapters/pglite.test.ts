import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { cp, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { type Database, DatabaseUnavailableError, IncompatibleStoreError } from 'headwater'
import { pglite } from 'headwater/postgres'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { DataDirectory, postgresMajor } from '../../src/adapters/postgres/data-directory.ts'
import { thisProcess } from '../../src/adapters/postgres/process-mark.ts'

const root = await mkdtemp(join(tmpdir(), 'headwater-pglite-'))
const children: ChildProcess[] = []
afterAll(async () => {
  await Promise.all(children.map(killed))
  await rm(root, { recursive: true })
})

let made = 0
const directory = () => join(root, String(++made))

/** A directory that PGlite has booted on before: much quicker than a new one. */
async function booted(): Promise<string> {
  const path = directory()
  await cp(template, path, { recursive: true })
  return path
}

const template = directory()
beforeAll(async () => {
  const database = pglite(template)
  await database.query('select 1')
  await database.close()
})

/** What the lock says: the process that holds the directory, or undefined. */
async function holderOf(path: string): Promise<{ pid: number } | undefined> {
  const names = (await readdir(path)).filter((name) => name.startsWith('headwater.lock'))
  expect(names).toHaveLength(1)
  const content = await readFile(join(path, names[0] ?? ''), 'utf8')
  return content === '' ? undefined : JSON.parse(content)
}

async function leaveLock(path: string, content: string): Promise<void> {
  await mkdir(path)
  await writeFile(join(path, 'headwater.lock.7'), content)
}

function start(what: 'hold' | 'write' | 'close' | 'leave', path: string) {
  const file = fileURLToPath(new URL('./pglite-child.mjs', import.meta.url))
  const child = spawn(process.execPath, [file, what, path], { stdio: ['ignore', 'pipe', 'inherit'] })
  children.push(child)
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]()
  const line = async (): Promise<string> => {
    const { value, done } = await lines.next()
    if (done) throw new Error(`the child that should ${what} ended without a word`)
    return value
  }
  return { child, line }
}

async function killed(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  const exit = once(child, 'exit')
  child.kill('SIGKILL')
  await exit
}

async function using<T>(database: Database, work: (database: Database) => Promise<T>): Promise<T> {
  try {
    return await work(database)
  } finally {
    await database.close()
  }
}

describe('a directory of PGlite', () => {
  test('is refused while this process has it open, and free after closing', async () => {
    const path = await booted()
    const first = pglite(path)
    await first.query('create table kept as select 1 as a')
    const second = pglite(path)
    await expect(second.query('select 1')).rejects.toMatchObject({
      code: 'locked',
      message: expect.stringContaining('this process itself'),
    })
    await second.close()
    expect(await holderOf(path)).toMatchObject({ pid: process.pid })
    await first.close()
    expect(await holderOf(path)).toBeUndefined()
    await using(pglite(path), async (again) => expect((await again.query('select a from kept')).rows).toEqual([{ a: 1 }]))
  })

  test('is refused while another process has it open, which is named, and taken over when that was killed', async () => {
    const path = await booted()
    const { child, line } = start('hold', path)
    expect(await line()).toBe('held')
    const refused = pglite(path)
    const error = await refused.query('select 1').catch((thrown: unknown) => thrown)
    expect(error).toBeInstanceOf(IncompatibleStoreError)
    expect(error).toMatchObject({ code: 'locked', message: expect.stringContaining(`process ${child.pid}`) })
    await killed(child)
    // The same database may try again.
    await using(refused, async (database) => expect((await database.query('select 1 as a')).rows).toEqual([{ a: 1 }]))
  })

  test.each([
    ['another start', { started: '1' }],
    ['another boot', { boot: 'another' }],
    ['a number that nobody has', { pid: 2 ** 22 + 1 }],
  ])('is taken over from a process with %s', async (_what, difference) => {
    const path = directory()
    await leaveLock(path, JSON.stringify({ ...(await thisProcess()), holder: 'x', ...difference }))
    const held = await DataDirectory.hold(path)
    expect(await holderOf(path)).toMatchObject({ pid: process.pid })
    await held.release()
  })

  test('is taken over from a lock that nobody finished writing', async () => {
    const path = directory()
    await leaveLock(path, '')
    await (await DataDirectory.hold(path)).release()
    expect(await holderOf(path)).toBeUndefined()
  })

  test('goes to one of several that find a stale lock at once', async () => {
    for (let round = 0; round < 20; round++) {
      const path = directory()
      await leaveLock(path, JSON.stringify({ ...(await thisProcess()), holder: 'x', started: '1' }))
      const ended = await Promise.allSettled(Array.from({ length: 8 }, () => DataDirectory.hold(path)))
      const held = ended.flatMap((end) => (end.status === 'fulfilled' ? [end.value] : []))
      expect(held).toHaveLength(1)
      for (const end of ended) if (end.status === 'rejected') expect(end.reason).toMatchObject({ code: 'locked' })
      await held[0]?.release()
    }
  })

  test('is refused when another version of PostgreSQL made it', async () => {
    const path = directory()
    await mkdir(path)
    await writeFile(join(path, 'PG_VERSION'), '17\n')
    const database = pglite(path)
    await expect(database.query('select 1')).rejects.toMatchObject({
      code: 'other_version',
      message: expect.stringContaining('PostgreSQL 17'),
    })
    await database.close()
    expect(await holderOf(path)).toBeUndefined()
  })

  test('is begun anew when its first boot was killed', async () => {
    const path = directory()
    await mkdir(join(path, 'base'), { recursive: true })
    await writeFile(join(path, 'PG_VERSION'), `${postgresMajor}\n`)
    await writeFile(join(path, 'headwater.json'), JSON.stringify({ state: 'initialising', postgresMajor, foreign: [] }))
    await using(pglite(path), async (database) => {
      const { rows } = await database.query<{ version: number }>(`select current_setting('server_version_num')::int / 10000 as version`)
      expect(rows).toEqual([{ version: postgresMajor }])
    })
    expect(JSON.parse(await readFile(join(path, 'headwater.json'), 'utf8'))).toEqual({ state: 'ready', postgresMajor })
  })

  test('that holds other things keeps them, also when its first boot was killed', async () => {
    const path = directory()
    await mkdir(path)
    await writeFile(join(path, 'mine'), 'x')
    for (let time = 0; time < 2; time++) {
      const held = await DataDirectory.hold(path)
      await writeFile(join(path, 'PG_VERSION'), 'half')
      await held.release()
    }
    expect(await readFile(join(path, 'mine'), 'utf8')).toBe('x')
    await (await DataDirectory.hold(path)).release()
    expect(await readdir(path)).not.toContain('PG_VERSION')
  })

  test('keeps every acknowledged write when its process is killed', async () => {
    const path = await booted()
    const { child, line } = start('write', path)
    let acknowledged = 0
    while (acknowledged < 300) acknowledged = Number(await line())
    await killed(child)
    await using(pglite(path), async (database) => {
      const { rows } = await database.query<{ count: number; max: number }>('select count(*), max(n) from written')
      expect(rows[0]?.max).toBeGreaterThanOrEqual(acknowledged)
      expect(rows[0]?.count).toBe(rows[0]?.max)
    })
  })
})

describe('the thread of PGlite', () => {
  test.each(['close', 'leave'] as const)('lets its process end after: %s', async (what) => {
    const { child, line } = start(what, await booted())
    await line()
    if (child.exitCode === null) await once(child, 'exit')
    expect(child.exitCode).toBe(0)
  })

  test('fails every call once PGlite has panicked, a commit as one of unknown outcome', async () => {
    const path = await booted()
    const database = pglite(path)
    await database.query('create table t (a text)')
    // Without this folder PostgreSQL cannot write, which it takes for the end.
    await rm(join(path, 'pg_wal'), { recursive: true })
    const calls = [
      database.transaction(async (transaction) => {
        await transaction.query('insert into t values (1)')
        await transaction.query('select pg_switch_wal()')
      }),
      database.query('insert into t select 1'),
      database.query('select 1'),
    ]
    const ended = await Promise.allSettled(calls)
    const reasons = ended.map((end) => (end.status === 'rejected' ? end.reason : undefined))
    expect(reasons[0]).toBeInstanceOf(DatabaseUnavailableError)
    expect(reasons[0]).toMatchObject({ during: 'commit' })
    for (const reason of reasons) expect(reason).toBeInstanceOf(DatabaseUnavailableError)
    await database.close()
    expect(await holderOf(path)).toBeUndefined()
  })
})

describe('the upkeep of PGlite', () => {
  test('writes checkpoints and vacuums what was written, between transactions', async () => {
    const database = pglite(await booted(), { checkpointBytes: 1024, vacuumIntervalMs: 10 })
    const checkpoint = async () =>
      (await database.query<{ lsn: string }>('select checkpoint_lsn::text as lsn from pg_control_checkpoint()')).rows[0]?.lsn
    await database.query('create table t (a int); insert into t select generate_series(1, 2000)')
    const before = await checkpoint()
    await database.transaction(async (transaction) => {
      await transaction.query('update t set a = a + 1')
      await transaction.query('select pg_sleep(0.05)')
      await transaction.query('update t set a = a + 1')
    })
    await expect.poll(checkpoint).not.toBe(before)
    const dead = async () => {
      await database.query('select pg_stat_force_next_flush()')
      const asked = `select n_dead_tup as dead, reltuples as live from pg_stat_user_tables s join pg_class c on c.oid = s.relid where s.relname = 't'`
      return (await database.query(asked)).rows[0]
    }
    await expect.poll(dead).toEqual({ dead: 0, live: 2000 })
    await database.close()
  })
})
