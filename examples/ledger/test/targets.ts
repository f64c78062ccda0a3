import { randomUUID } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Database } from 'headwater'
import { pglite, postgres } from 'headwater/postgres'
import { postgresMissing, postgresUrl } from '../../../test/support/addresses.ts'

/** Where the example can run, with its own empty database. */
export interface Target {
  readonly name: string
  readonly skip: string | false
  readonly prepare: () => Promise<Place>
}

export interface Place {
  readonly settings: Readonly<Record<string, string>>
  /** The database itself; on PGlite only while the example does not run. */
  open(): Database
  remove(): Promise<void>
}

export const targets: readonly Target[] = [
  { name: 'PGlite', skip: false, prepare: inDirectory },
  { name: 'PostgreSQL', skip: await postgresMissing(), prepare: onServer },
]

async function inDirectory(): Promise<Place> {
  const directory = mkdtempSync(join(tmpdir(), 'ledger-'))
  return {
    settings: { DATA_DIR: directory },
    open: () => pglite(directory),
    remove: async () => rmSync(directory, { recursive: true, force: true }),
  }
}

/** A database of its own, because the example's schema has a fixed name. */
async function onServer(): Promise<Place> {
  const name = `ledger_${randomUUID().replaceAll('-', '')}`
  const run = async (text: string) => {
    const server = postgres(postgresUrl, { poolSize: 1 })
    await server.query(text).finally(() => server.close())
  }
  await run(`create database ${name}`)
  const url = new URL(postgresUrl)
  url.pathname = `/${name}`
  return {
    settings: { DATABASE_URL: url.href },
    open: () => postgres(url.href, { poolSize: 1 }),
    remove: () => run(`drop database ${name} with (force)`),
  }
}
