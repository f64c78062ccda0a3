// Writes docs/schema.sql: Headwater's own PostgreSQL schema, as pg_dump shows it after all migrations. With `--check` it compares instead, prints the
// difference and fails. So every migration's true effect stands in its commit as a difference that can be read.
//
// Works in a database of its own, made and dropped on the server at DATABASE_URL. Dumps of different major versions of PostgreSQL differ, so the file
// names its version, and on another one `--check` only says that it did not compare.
import { spawnSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import pg from 'pg'

const root = fileURLToPath(new URL('..', import.meta.url))
const file = new URL('../docs/schema.sql', import.meta.url)
const serverUrl = process.env.DATABASE_URL ?? 'postgres://postgres@127.0.0.1:5432/test'

run(process.execPath, [fileURLToPath(new URL('../node_modules/typescript/bin/tsc', import.meta.url)), '-b', 'src'])
const { migrate } = await import('../dist/database/migrate.js')
const { postgres } = await import('../dist/adapters/postgres/index.js')

const { major, dump } = await dumpFreshSchema()
const made = `-- The PostgreSQL schema that Headwater keeps for itself. Made by "npm run schema:dump" on PostgreSQL ${major}; do not edit.\n\n${dump}`
if (process.argv.includes('--check')) check(made, major)
else {
  writeFileSync(file, made)
  console.log('docs/schema.sql written')
}

async function dumpFreshSchema() {
  const name = `headwater_schema_dump_${process.pid}_${randomBytes(4).toString('hex')}`
  const admin = new pg.Client({ connectionString: serverUrl })
  await admin.connect()
  try {
    const { rows } = await admin.query(`select current_setting('server_version_num')::int / 10000 as major`)
    await admin.query(`create database ${name} template template0`)
    const url = new URL(serverUrl)
    url.pathname = `/${name}`
    const database = postgres(url.href, { poolSize: 1 })
    try {
      await migrate(database, 'headwater')
    } finally {
      await database.close()
    }
    const dumped = run('pg_dump', ['--schema-only', '--no-owner', '--no-privileges', '--schema=headwater', '--dbname', url.href])
    return { major: rows[0].major, dump: normalise(dumped) }
  } finally {
    await admin.query(`drop database if exists ${name}`)
    await admin.end()
  }
}

/** Without what depends on the version or the run: versions, session settings, the random key of \restrict. */
function normalise(text) {
  return `${text
    .split('\n')
    .filter((line) => !/^(-- Dumped |\\(un)?restrict |SET |SELECT pg_catalog\.set_config)/.test(line))
    .join('\n')
    .replace(/\n{3,}/g, '\n\n')
    .trim()}\n`
}

function check(wanted, major) {
  const committed = existsSync(file) ? readFileSync(file, 'utf8') : ''
  if (committed === wanted) return console.log('docs/schema.sql is what the migrations make')
  const madeOn = /on PostgreSQL (\d+);/.exec(committed)?.[1]
  if (madeOn !== undefined && madeOn !== String(major)) {
    return console.log(`not compared: docs/schema.sql was made on PostgreSQL ${madeOn}, this server is ${major}`)
  }
  console.error(difference(committed.split('\n'), wanted.split('\n')))
  console.error('docs/schema.sql is not what the migrations make: run "npm run schema:dump" and commit the difference')
  process.exitCode = 1
}

/** The lines between the common beginning and the common end. */
function difference(before, after) {
  let start = 0
  while (start < before.length && before[start] === after[start]) start++
  let end = 0
  while (end < Math.min(before.length, after.length) - start && before.at(-1 - end) === after.at(-1 - end)) end++
  const marked = (lines, sign) => lines.slice(start, lines.length - end).map((line) => `${sign} ${line}`)
  return [`docs/schema.sql, from line ${start + 1}:`, ...marked(before, '-'), ...marked(after, '+')].join('\n')
}

function run(program, args) {
  const { status, stdout, stderr, error } = spawnSync(program, args, { cwd: root, encoding: 'utf8', maxBuffer: 64 * 2 ** 20 })
  if (error) throw error
  if (status !== 0) throw new Error(`${program} ${args[0]} failed:\n${stdout}${stderr}`)
  return stdout
}
