import type { AddressInfo } from 'node:net'
import { setTimeout as pause } from 'node:timers/promises'
import { type ServerType, serve } from '@hono/node-server'
import { DatabaseUnavailableError, isHeadwaterError } from 'headwater'
import { handler } from 'headwater/http'
import { app, database, settings } from './app.ts'
import { closeServer, cutConnections } from './close-server.ts'
import { handedOn, refuseOwnAddress } from './door.ts'
import { holdFlashSale } from './load/flash-sale.ts'
import { isShop } from './load/shop-client.ts'
import { page } from './page.ts'
import { reset } from './reset.ts'
import { prepareDatabase } from './seed/seed.ts'
import { SettingsError } from './settings.ts'
import { closeStores, printPlaces } from './stores.ts'

const hostname = '127.0.0.1'
const print = (line: string) => console.log(line)
let serving = false
let stopping = false

async function main(): Promise<void> {
  const running = `http://${hostname}:${settings.port}`
  if (settings.reset) return await resetAndEnd(running)
  if (settings.load && (await isShop(running))) {
    print(`The shop at ${running} is open: the sale is held there.`)
    process.exit(await flashSale(running))
  }
  let letIn = () => {}
  const server = await listen(
    new Promise((resolve) => {
      letIn = resolve
    }),
  )
  refuseOwnAddress(server.address() as AddressInfo)
  stopOn(['SIGINT', 'SIGTERM'], server)
  print(`Database: ${database.traits.description}`)
  printPlaces(print)
  await reachDatabase()
  await prepareDatabase(database, { seed: settings.seed, print })
  await app.start({ roles: settings.roles })
  serving = true
  letIn()
  const url = `http://${hostname}:${(server.address() as AddressInfo).port}`
  const part = settings.roles.length < 3 ? ` (${settings.roles.join(', ')})` : ''
  print(`The shop is at ${url}${part}`)
  await printReadModels()
  if (!settings.load) return
  const code = await flashSale(url)
  await stop(server)
  process.exit(code)
}

async function resetAndEnd(running: string): Promise<void> {
  if (await isShop(running)) throw new SettingsError(`The shop at ${running} is open: stop it, and what else runs of it, before --reset.`)
  await reachDatabase()
  await reset(print)
  await closeStores()
  await database.close()
}

async function flashSale(url: string): Promise<number> {
  return (await holdFlashSale([url], print)) ? 0 : 1
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

/**
 * Takes the port before anything else, to fail early if it is taken; of several processes of one role, those that were given none take a free one. What
 * comes before the application has started waits for that.
 */
async function listen(started: Promise<void>): Promise<ServerType> {
  const [api, files] = [handler(app), page()]
  const answer = async (request: Request): Promise<Response> => {
    // The process lives, whatever else does not.
    if (new URL(request.url).pathname === '/health') return await api(request)
    const answered = files(request) ?? (await handedOn(request))
    return answered ?? (await started.then(() => api(request)))
  }
  try {
    return await open(answer, settings.port)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EADDRINUSE' || settings.isPortAsked || settings.roles.length === 3) throw error
    return await open(answer, 0)
  }
}

function open(answer: (request: Request) => Promise<Response>, port: number): Promise<ServerType> {
  return new Promise((resolve, reject) => {
    const server = serve({ fetch: answer, hostname, port }, () => resolve(server))
    server.once('error', reject)
  })
}

/** Says of each read model how it is, once it is built, and how long that took if it was built now. */
async function printReadModels(): Promise<void> {
  const first = (await app.status()).readModels
  const waiting = new Set(first.map(({ name }) => name))
  const built = new Set(first.filter(({ build }) => build !== undefined).map(({ name }) => name))
  while (waiting.size > 0 && !stopping) {
    for (const { name, state, build, rows, available, builtInMs } of (await app.status()).readModels) {
      // One that moved is built in its new place; where it was nobody looks any more.
      const isOnItsWay = state === 'building' || (build !== undefined && !available)
      if (isOnItsWay || !waiting.delete(name)) continue
      const how = built.has(name) && builtInMs !== undefined ? `built in ${(builtInMs / 1000).toFixed(1)} s` : state
      print(
        available
          ? `  ${name.padEnd(18)}${rows.toLocaleString('en').padStart(7)} rows  ${how}`
          : `  ${name.padEnd(18)}its store does not answer; it goes on when that does`,
      )
    }
    await pause(100)
  }
}

async function stop(server: ServerType): Promise<void> {
  stopping = true
  // Who was let in is answered first; who still waits for that never will be.
  if (!serving) cutConnections(server)
  await closeServer(server)
  await app.stop()
  await closeStores()
}

function stopOn(signals: readonly NodeJS.Signals[], server: ServerType): void {
  for (const signal of signals) process.on(signal, () => void (stopping || stop(server).then(() => process.exit(0))))
}

function explain(error: unknown): string {
  if ((error as NodeJS.ErrnoException).code === 'EADDRINUSE') {
    return `Port ${settings.port} is taken. PORT=4012 npm run shop uses another one.`
  }
  if (error instanceof DatabaseUnavailableError) {
    return `The database does not answer: ${error.message}. Is DATABASE_URL right, and the server up? Without DATABASE_URL the embedded one is used.`
  }
  if (isHeadwaterError(error) || error instanceof SettingsError) return error.message
  return error instanceof Error ? (error.stack ?? error.message) : String(error)
}

try {
  await main()
} catch (error) {
  // Asked to stop while something was under way: that is no failure.
  if (!stopping) {
    console.error(explain(error))
    await app.stop().catch(() => {})
    process.exit(error instanceof SettingsError ? 2 : 1)
  }
}
