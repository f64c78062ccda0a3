import { type Headwater, isHeadwaterError, type Role } from 'headwater'

/** Starts an application; one that lost the database on the way is followed by another, as a supervisor of processes would. */
export async function startedApp<App extends Headwater>(make: () => App, role: Role): Promise<App> {
  for (;;) {
    const app = make()
    try {
      await app.start({ roles: [role] })
      return app
    } catch (error) {
      if (!isHeadwaterError(error) || error.code !== 'database_unavailable') throw error
      await app.stop()
    }
  }
}
