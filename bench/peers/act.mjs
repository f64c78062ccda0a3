import pg from 'pg'
import { dataOf, evolved } from '../accounts.mjs'
import { ownSignals } from './own-signals.mjs'

/**
 * Act with its PostgreSQL store. It asks for Node 22.17; where it runs on an older one nevertheless, it is measured.
 * @param {string} url
 */
export async function openAct(url) {
  process.env.LOG_LEVEL ??= 'fatal'
  process.env.NODE_ENV ??= 'production'
  const [{ act, state, store }, { PostgresStore }, { z }] = await importQuietly()
  const { hostname, port, username, password, pathname } = new URL(url)
  const postgres = new PostgresStore({
    host: hostname,
    port: Number(port || 5432),
    user: decodeURIComponent(username),
    password: decodeURIComponent(password),
    database: pathname.slice(1),
    schema: 'act',
    max: 16,
  })
  await postgres.seed()
  store(postgres)
  const data = z.object({ owner: z.string(), amount: z.int(), note: z.string() })
  const account = state('Account', z.object({ balance: z.number(), events: z.number() }))
    .init(() => ({ balance: 0, events: 0 }))
    .emits({ AccountOpened: data })
    .patch({ AccountOpened: ({ data }, now) => evolved(now, data) })
    .on('open', z.object({ id: z.string(), amount: z.int() }))
    .emit(({ id, amount }) => ['AccountOpened', dataOf(id, amount)])
    .build()
  const app = act().with(account).build()
  const actor = { id: 'bench', name: 'bench' }
  return {
    /** A command: reads the stream and appends. @param {string} id */
    execute: (id) => app.do('open', { stream: id, actor }, { id, amount: 1 }),
    close: () => postgres.dispose(),
  }
}

/** Without what its import does to the process: it takes errors that nobody caught for itself, and reads JSON in its own way for every pool. */
async function importQuietly() {
  const restore = ownSignals()
  const jsonb = pg.types.builtins.JSONB
  const parser = pg.types.getTypeParser(jsonb)
  const modules = await Promise.all([import('@rotorsoft/act'), import('@rotorsoft/act-pg'), import('zod')])
  pg.types.setTypeParser(jsonb, parser)
  restore()
  return modules
}
