import { spawnSync } from 'node:child_process'
import { cp, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, expect, test } from 'vitest'

/** What was built, in a place where no package is installed. */
let place = ''
beforeAll(async () => {
  place = await mkdtemp(join(tmpdir(), 'headwater-peer-'))
  await cp(fileURLToPath(new URL('../../dist', import.meta.url)), join(place, 'dist'), { recursive: true })
  await writeFile(join(place, 'package.json'), '{"type":"module"}')
})
afterAll(() => rm(place, { recursive: true }))

test.each([
  ['pg', `postgres('postgres://localhost/x')`],
  ['@electric-sql/pglite', 'pglite()'],
])('a missing %s is an error that says how to install it', async (name, database) => {
  const file = join(place, 'main.js')
  await writeFile(
    file,
    `import { pglite, postgres } from './dist/adapters/postgres/index.js'
     const database = ${database}
     console.log((await database.query('select 1').catch((error) => error)).message)
     await database.close()`,
  )
  const { stdout, stderr } = spawnSync(process.execPath, [file], { encoding: 'utf8' })
  expect(stderr).toBe('')
  expect(stdout).toContain(`needs the package ${name}, which is not installed: npm install ${name}`)
})
