import { spawnSync } from 'node:child_process'
import { mkdirSync, rmSync, writeFileSync } from 'node:fs'
import type { Headwater } from 'headwater'
import { pglite } from 'headwater/postgres'
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import { codeBlocks, projectFiles, root, typescriptModules } from './support/project-files.ts'

/** Inside the repository, where the package finds itself by name; ignored by git. */
const folder = `${root}.data/docs-test-${process.pid}/`

beforeAll(() => mkdirSync(folder, { recursive: true }))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

describe('code in the docs', () => {
  test('type-checks', { timeout: 120_000 }, () => {
    const pages = projectFiles().filter((path) => path === 'README.md' || /^docs\/.*\.md$/.test(path))
    const names = pages.flatMap((page) =>
      typescriptModules(page).map((code, i) => {
        const name = `${page.replaceAll('/', '-').replace('.md', '')}-${i + 1}.ts`
        writeFileSync(`${folder}${name}`, code)
        return name
      }),
    )
    expect(names).toContain('README-1.ts')
    const compilerOptions = {
      noEmit: true,
      composite: false,
      declaration: false,
      rewriteRelativeImportExtensions: false,
      allowImportingTsExtensions: true,
      noUnusedLocals: false,
      customConditions: ['headwater-source'],
    }
    writeFileSync(`${folder}tsconfig.json`, JSON.stringify({ extends: '../../tsconfig.base.json', compilerOptions, files: names }))
    const { stdout, status } = spawnSync(process.execPath, [`${root}node_modules/typescript/bin/tsc`, '-p', folder], { encoding: 'utf8' })
    expect({ stdout, status }).toEqual({ stdout: '', status: 0 })
  })
})

describe('the README’s example', () => {
  const database = pglite()
  const printed: unknown[][] = []
  const started: Headwater[] = []

  beforeAll(async () => {
    const tables = codeBlocks('README.md').find(({ language }) => language === 'sql')
    await database.query(tables?.code ?? '')
    await database.query(`insert into customers values (1, 'Ada'), (2, 'Grace'); insert into orders values (7, 1), (8, 2);
      insert into order_lines values (7, 'pen', 2, 150), (7, 'ink', 1, 900), (8, 'ink', 1, 900)`)
    vi.doMock('headwater/postgres', () => ({ postgres: () => database }))
    vi.spyOn(console, 'log').mockImplementation((...values) => printed.push(values))
    vi.spyOn(process.stderr, 'write').mockReturnValue(true)
  })

  afterAll(async () => {
    for (const app of started) await app.stop()
    vi.restoreAllMocks()
    vi.doUnmock('headwater/postgres')
    await database.close()
  })

  /** Runs a module of the README against the database of this test, as it stands there. */
  async function run(name: string, code: string): Promise<Readonly<Record<string, Headwater>>> {
    writeFileSync(`${folder}${name}.ts`, code)
    const apps: Readonly<Record<string, Headwater>> = { ...(await import(`${folder}${name}.ts`)) }
    started.push(...Object.values(apps))
    return apps
  }

  const rows = async () => (await database.query('select * from headwater.order_list order by order_id')).rows

  test('ten lines put a read model over tables that are there, which follows writers that know nothing of it', async () => {
    const lines = codeBlocks('README.md').find(({ language }) => language === 'ts')?.code ?? ''
    expect(lines.trim().split('\n')).toHaveLength(10)
    const { app } = await run('ten-lines', lines)
    await app?.settle()
    expect(await rows()).toEqual([
      { order_id: 7, customer: 'Ada', lines: 2, cents: 1200 },
      { order_id: 8, customer: 'Grace', lines: 1, cents: 900 },
    ])
    await database.query(`update customers set name = 'Ada L.' where id = 1; delete from order_lines where order_id = 8`)
    await app?.settle()
    expect(await rows()).toEqual([{ order_id: 7, customer: 'Ada L.', lines: 2, cents: 1200 }])
  })

  test('its commands and queries run, and read their own write', async () => {
    const [whole] = typescriptModules('README.md')
    await run('whole', whole ?? '')
    expect(printed).toEqual([['Ada Lovelace', expect.any(Number)]])
  })
})
