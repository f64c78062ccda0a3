import type { Database } from 'headwater'
import { silentLog, systemClock } from 'headwater'
import { migrate } from '../../src/database/migrate.ts'
import { freshSchema } from './databases.ts'

/** Headwater's own schema, and a table `note` in the schema `own` for commands to write to; both with random names. */
export interface CommandPlace {
  readonly database: Database
  readonly schema: string
  readonly own: string
  readonly clock: typeof systemClock
  readonly log: typeof silentLog
}

/** Makes a {@link CommandPlace}; the schemas go when the file's tests are over. */
export async function commandPlace(database: Database): Promise<CommandPlace> {
  const schema = freshSchema('headwater')
  const own = freshSchema('own')
  await migrate(database, schema)
  await database.query(
    `create schema ${own}; create table ${own}.note (id serial primary key, text text not null unique, n integer not null default 0)`,
  )
  return { database, schema, own, clock: systemClock, log: silentLog }
}
