import type { AddressInfo } from 'node:net'
import { setTimeout as pause } from 'node:timers/promises'
import { type ServerType, serve } from '@hono/node-server'
import { DatabaseUnavailableError, isHeadwaterError } from 'headwater'
import { handler } from 'headwater/http'
import { app, database } from './app.ts'
import { closeServer, cutConnections } from './close-server.ts'
import { page } from './page.ts'
import { defaultSize, prepareDatabase } from './seed/seed.ts'

const hostname = '127.0.0.1'
const port = Number(process.env.PORT || 4000)
const print = (line: string) => console.log(line)
let serving = false
let stopping = false

async function main(): Promise<void> {
  let letIn = () => {}
  const server = await listen(
    new Promise((resolve) => {
      letIn = resolve
    }),
  )
  stopOn(['SIGINT', 'SIGTERM'], server)
  print(`Database: ${database.traits.description}`)
  await reachDatabase()
  await prepareDatabase(database, { ...(process.env.SEED === 'none' ? {} : { size: defaultSize }), print })
  await app.start()
  serving = true
  letIn()
  print(`The micro-blog is at http://${hostname}:${(server.address() as AddressInfo).port}`)
  await printReadModels()
}

/** Gives a database server that starts at the same time half a minute to come up. */
async function reachDatabase(): Promise<void> {
  const deadline = Date.now() + 30_000
  for (;;) {
    try {
      await database.query('select 1')
      return
    } catch (error) {
      if (!(error instanceof DatabaseUnavailableError) || Date.now() > deadline) throw error
      print(`  ${error.message}; trying again`)
      await pause(2000)
    }
  }
}

/** Takes the port before anything else, to fail early if it is taken. What comes before the application has started waits for that. */
function listen(started: Promise<void>): Promise<ServerType> {
  const [api, files] = [handler(app), page()]
  const answer = async (request: Request) => files(request) ?? (await started.then(() => api(request)))
  return new Promise((resolve, reject) => {
    const server = serve({ fetch: answer, hostname, port }, () => resolve(server))
    server.once('error', reject)
  })
}

/** Says of each read model how long it took to build, once it is built. */
async function printReadModels(): Promise<void> {
  const waiting = new Set((await app.status()).readModels.map(({ name }) => name))
  while (waiting.size > 0 && !stopping) {
    for (const { name, mode, state, rows, builtInMs } of (await app.status()).readModels) {
      if (state === 'building' || !waiting.delete(name)) continue
      const built = builtInMs === undefined ? state : `built in ${(builtInMs / 1000).toFixed(1)} s`
      print(`  ${name.padEnd(16)}${mode.padEnd(6)} ${rows.toLocaleString('en').padStart(7)} rows  ${built}`)
    }
    await pause(100)
  }
}

function stopOn(signals: readonly NodeJS.Signals[], server: ServerType): void {
  const stop = async () => {
    if (stopping) return
    stopping = true
    // Who was let in is answered first; who still waits for that never will be.
    if (!serving) cutConnections(server)
    await closeServer(server)
    await app.stop()
    process.exit(0)
  }
  for (const signal of signals) process.on(signal, () => void stop())
}

function explain(error: unknown): string {
  if ((error as NodeJS.ErrnoException).code === 'EADDRINUSE') return `Port ${port} is taken. PORT=4010 npm start uses another one.`
  if (error instanceof DatabaseUnavailableError) {
    return `The database does not answer: ${error.message}. Is DATABASE_URL right, and the server up? Without DATABASE_URL the embedded one is used.`
  }
  if (isHeadwaterError(error)) return error.message
  return error instanceof Error ? (error.stack ?? error.message) : String(error)
}

try {
  await main()
} catch (error) {
  // Asked to stop while something was under way: that is no failure.
  if (!stopping) {
    console.error(explain(error))
    await app.stop().catch(() => {})
    process.exit(1)
  }
}
