import { headwater } from 'headwater'
import { pglite, postgres } from 'headwater/postgres'
import * as commands from './commands.ts'
import * as queries from './queries.ts'
import * as readModels from './read-models.ts'
import { settingsOfProcess } from './settings.ts'

const searchPath = 'shop'

export const settings = settingsOfProcess()
export const database = settings.databaseUrl
  ? postgres(settings.databaseUrl, { searchPath })
  : pglite(settings.dataDirectory, { searchPath })

/** Where everything of Headwater is kept; other stores know the shop by this name. */
export const schema = 'headwater_shop'

export const app = headwater({ database, schema, commands, readModels, queries })
