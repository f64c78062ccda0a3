import type { SqlClient } from '../../database/database.ts'
import { DatabaseError } from '../../errors.ts'

/** Runs `work` under a savepoint to which it goes back in any case: nothing of it stays. */
export async function undone<T>(client: SqlClient, work: () => Promise<T>): Promise<T> {
  await client.query('savepoint headwater_undone')
  let failure: { readonly error: unknown } | undefined
  try {
    return await work()
  } catch (error) {
    failure = { error }
    throw error
  } finally {
    await back(client, 'headwater_undone', failure)
  }
}

/** Runs `work` under a savepoint; what the database says against it is returned, and then nothing of it stays. */
export async function attempt<T>(client: SqlClient, work: () => Promise<T>): Promise<T | DatabaseError> {
  await client.query('savepoint headwater_attempt')
  try {
    const result = await work()
    await client.query('release savepoint headwater_attempt')
    return result
  } catch (error) {
    await back(client, 'headwater_attempt', { error })
    if (error instanceof DatabaseError) return error
    throw error
  }
}

/** A connection that broke cannot go back, and its own error tells more. */
async function back(client: SqlClient, savepoint: string, failure: { readonly error: unknown } | undefined): Promise<void> {
  try {
    await client.query(`rollback to savepoint ${savepoint}`)
    await client.query(`release savepoint ${savepoint}`)
  } catch (error) {
    if (!failure) throw error
  }
}
