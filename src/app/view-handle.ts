import { quote } from '../database/identifier.ts'
import { NotReadyError, UsageError } from '../errors.ts'
import { switchTo } from '../materialized-view/build.ts'
import type { ViewRuntime, ViewVersion } from '../materialized-view/registry.ts'
import { enqueueKeys, verify } from '../materialized-view/verify.ts'
import type { ViewWorker } from '../materialized-view/worker.ts'
import type { ReadModelStatus } from '../read-model/read-model.ts'
import type { ReadModelHandle, Verification } from './app.ts'

/** The operations on one materialized view. */
export function viewHandle(
  runtime: ViewRuntime,
  worker: ViewWorker,
  name: string,
  status: () => Promise<ReadModelStatus | undefined>,
): ReadModelHandle {
  const { database, log } = runtime
  const schema = quote(runtime.schema)

  async function live(): Promise<ViewVersion> {
    await worker.refresh()
    const found = worker.versions.find((version) => version.name === name && version.active)
    if (!found) throw new NotReadyError('building', name, 'its first build is under way')
    return found
  }

  async function verifyLive(options?: { readonly sample?: number }): Promise<Verification> {
    const version = await live()
    const { keysChecked, differences } = await verify(runtime, version, options)
    return { readModel: name, version: version.version, keysChecked, differences }
  }

  return {
    async status() {
      const found = await status()
      if (!found) throw new NotReadyError('building', name, 'it is not installed yet')
      return found
    },
    verify: verifyLive,
    async repair() {
      const found = await verifyLive()
      if (found.differences.length === 0) return found
      await enqueueKeys(
        runtime,
        await live(),
        found.differences.map(({ key }) => key),
      )
      log('warn', `${name}: ${found.differences.length} rows differed from their SELECT and are being selected again`)
      await worker.settle()
      return found
    },
    async rebuild() {
      const version = await live()
      await database.query(`select ${schema}.enqueue($1)`, [version.id])
      worker.wake()
    },
    async retry(key) {
      const version = await live()
      await database.transaction(async (transaction) => {
        const { rows } = await transaction.query<{ key: string }>(
          `delete from ${schema}.parked where view = $1 and ($2::text is null or key = $2) returning key`,
          [version.id, key ?? null],
        )
        if (rows.length > 0) {
          await transaction.query(`insert into ${schema}.mark (view, lane, map, keys) values ($1, 0, 0, $2::text[])`, [
            version.id,
            rows.map((row) => row.key),
          ])
        }
      })
      worker.wake()
    },
    async resume() {
      await worker.refresh()
      const stopped = worker.versions.findLast((version) => version.name === name && version.state === 'stopped')
      if (!stopped) throw new UsageError(`readModel('${name}').resume(): it is not stopped`)
      await database.transaction(async (transaction) => {
        await transaction.query(`delete from ${schema}.mark where view = $1`, [stopped.id])
        await transaction.query(`select ${schema}.enqueue($1)`, [stopped.id])
        // Its rows go on serving whoever asks for no more; under a token it answers when every key was selected again.
        await transaction.query(`update ${schema}.view set state = 'building', error = null where id = $1`, [stopped.id])
      })
      await worker.refresh()
      worker.wake()
    },
    async rollback() {
      await worker.refresh()
      const previous = worker.versions.findLast((version) => version.name === name && version.state === 'previous')
      if (!previous)
        throw new UsageError(
          `readModel('${name}').rollback(): there is no previous version; it is kept for the rollback window after a switch`,
        )
      for (let tries = 0; !(await switchTo(runtime, previous.id)); tries++) {
        if (tries >= 20)
          throw new NotReadyError(
            'building',
            name,
            `version ${previous.version} does not catch up with the live one; try again when there are fewer writes`,
          )
        await runtime.clock.sleep(100)
      }
      log('warn', `${name}: rolled back to version ${previous.version}`)
      await worker.refresh()
    },
  }
}
