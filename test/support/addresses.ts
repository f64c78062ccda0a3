import { existsSync } from 'node:fs'
import { connect } from 'node:net'

/** The PostgreSQL server that tests use. */
export const postgresUrl = process.env.DATABASE_URL ?? 'postgres://postgres@127.0.0.1:5432/test'

/** The browser that tests use. */
export const chromiumPath = process.env.CHROMIUM_PATH ?? '/usr/bin/chromium'

/** Why there is no PostgreSQL to test on, or false. */
export async function postgresMissing(): Promise<string | false> {
  const { hostname, port } = new URL(postgresUrl)
  const reason = await refusal(hostname, Number(port || 5432))
  return reason === undefined ? false : `no PostgreSQL server at ${hostname}:${port || 5432} (${reason}); DATABASE_URL names another`
}

/** Why there is no browser to test with, or false. */
export function chromiumMissing(): string | false {
  return existsSync(chromiumPath) ? false : `no Chromium at ${chromiumPath}; CHROMIUM_PATH names another`
}

function refusal(host: string, port: number): Promise<string | undefined> {
  return new Promise((resolve) => {
    const socket = connect({ host, port, timeout: 5000 })
    const end = (reason: string | undefined) => {
      socket.destroy()
      resolve(reason)
    }
    socket.once('connect', () => end(undefined))
    socket.once('timeout', () => end('no answer'))
    socket.once('error', (error) => end(error.message))
  })
}
