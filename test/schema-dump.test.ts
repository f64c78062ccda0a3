import { spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'
import { databases, postgresUrl } from './support/databases.ts'

const server = databases.find(({ name }) => name === 'postgres')
const hasPgDump = spawnSync('pg_dump', ['--version']).status === 0

test.skipIf(server?.skip || !hasPgDump)('docs/schema.sql is what the migrations make', { timeout: 120_000 }, (context) => {
  const script = fileURLToPath(new URL('../scripts/schema-dump.mjs', import.meta.url))
  const { stdout, stderr, status } = spawnSync(process.execPath, [script, '--check'], {
    encoding: 'utf8',
    env: { ...process.env, DATABASE_URL: postgresUrl },
  })
  if (stdout.startsWith('not compared')) context.skip(stdout.trim())
  expect({ status, stderr }).toEqual({ status: 0, stderr: '' })
})
