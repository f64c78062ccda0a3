import { consoleLog, headwater } from 'headwater'
import { postgres } from 'headwater/postgres'

/**
 * Starts an application, if need be over the tables in schema `tables`. It ends with the benchmark, if not before.
 * @param {import('./database.mjs').Workplace} place
 * @param {{
 *   readonly schema: string, readonly tables?: string, readonly poolSize?: number, readonly pollIntervalMs?: number,
 *   readonly stateCache?: { readonly entries?: number },
 *   readonly commands?: Readonly<Record<string, unknown>>, readonly readModels?: Readonly<Record<string, unknown>>, readonly queries?: Readonly<Record<string, unknown>>
 * }} options
 */
export async function startApplication(place, { tables, poolSize = 10, ...options }) {
  const database = postgres(place.url, { poolSize, searchPath: tables, applicationName: 'headwater bench' })
  const app = headwater({ database, log: consoleLog({ minimum: 'error' }), ...options })
  await app.start()
  place.onClose(() => app.stop())
  return app
}
