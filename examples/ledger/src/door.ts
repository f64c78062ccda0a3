import { UnknownNameError } from 'headwater'
import type { ServedApp } from 'headwater/http'
import { app, commands } from './app.ts'

const served = new Set<string>(Object.values(commands).map(({ commandName }) => commandName))
const ledger: ServedApp = app

/** The application as the network sees it: without the commands that only its own reactions send. */
export const door: ServedApp = {
  execute: async (name, input, options) => {
    if (!served.has(name)) throw new UnknownNameError('command', name, [...served])
    return await ledger.execute(name, input, options)
  },
  query: (name, input, options) => ledger.query(name, input, options),
  status: () => ledger.status(),
}
