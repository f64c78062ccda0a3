import { quote } from '../database/identifier.ts'
import { NotReadyError, UsageError } from '../errors.ts'
import { keyText } from '../read-model/key-text.ts'
import type { Reader, ReadModelStatus } from '../read-model/read-model.ts'
import type { Parked } from '../read-model/store.ts'
import { asOf, type Change, why } from './as-of.ts'
import { switchTo } from './build.ts'
import { divide } from './divide.ts'
import type { OwnProjection } from './own-projection.ts'
import type { Moment } from './projection-definition.ts'
import { type ProjectionRuntime, restoreProjection } from './registry.ts'
import { reset } from './reset.ts'
import { type RowDifference, verify } from './verify.ts'
import { type VersionDifferences, versionDifferences } from './version-differences.ts'
import type { ProjectionWorker } from './worker.ts'

/** What a comparison of a projection with a fold of its own found. */
export interface ProjectionVerification {
  readonly readModel: string
  readonly version: number
  readonly keysChecked: number
  readonly differences: readonly RowDifference[]
}

/** The operations on one projection. */
export interface ProjectionHandle {
  status(): Promise<ReadModelStatus>
  /** Folds again, all keys or a sample, and compares each row at its own position. Nothing is held up. */
  verify(options?: { readonly sample?: number }): Promise<ProjectionVerification>
  /** Verifies, folds the keys that differ again, and resolves to what it found when they are right. */
  repair(): Promise<ProjectionVerification>
  /** Folds every key again and mends what differs, without downtime. A changed definition is built by raising its `version`. */
  rebuild(): Promise<void>
  /** Keys that are set aside, and the event that each waits for. */
  parked(): Promise<readonly (Parked & { readonly key: string })[]>
  /** Folds what waits behind a parked key, in order: of one, or of all. */
  retry(key?: unknown): Promise<void>
  /** Takes the event at which a key is parked out of its fold for good, in this version, and folds what waits behind it. */
  skip(key: unknown, reason: string): Promise<void>
  /** Stops folding until {@link resume}; rows go on serving whoever asks for no more. */
  pause(): Promise<void>
  /** Lets a paused or stopped version go on from where it is. */
  resume(): Promise<void>
  /** After the log was restored or replaced: forgets the rows and folds the log as it is now. Queries answer `building` meanwhile. */
  accept(): Promise<void>
  /** Makes the version before the live one live again, when it holds everything the live one holds. */
  rollback(): Promise<void>
  /** What the newest version says otherwise than the one before it. */
  differences(): Promise<VersionDifferences>
  /** The events that made a key's row, and what each changed. */
  why(key: unknown): Promise<readonly Change[]>
  /** The read model as it was. */
  asOf(moment: Moment): Reader
  /** Over how many processes it can be spread: ranges of keys that are folded on their own. 1 to 64; sync projections have one. */
  divide(ranges: number): Promise<void>
}

/** The operations on a projection that this process defines. */
export function projectionHandle(
  runtime: ProjectionRuntime,
  worker: ProjectionWorker,
  name: string,
  status: () => Promise<ReadModelStatus | undefined>,
): ProjectionHandle {
  const { database, log, clock } = runtime
  const s = quote(runtime.schema)

  /** This process's own version: its code is what folds. */
  async function own(): Promise<OwnProjection> {
    await worker.refresh()
    const found = worker.own.find(({ version }) => version.name === name)
    if (!found)
      throw new NotReadyError('building', name, 'this process defines an older version than the live one; ask a process that runs that')
    return found
  }

  async function verifyOwn(options?: { readonly sample?: number }): Promise<ProjectionVerification> {
    const found = await own()
    const { keysChecked, differences } = await verify(runtime, found, options)
    return { readModel: name, version: found.version.version, keysChecked, differences }
  }

  /** The owner does it between two batches, wherever it runs. */
  async function ask(
    action: 'retry' | 'skip' | 'repair',
    keys: readonly (string | null)[],
    reason: string | null,
  ): Promise<readonly string[]> {
    const { version } = await own()
    const { rows } = await database.query<{ id: number }>(
      `insert into ${s}.key_request (projection, action, key, reason) select $1, $2, k, $4 from unnest($3::text[]) k returning id`,
      [version.id, action, keys, reason],
    )
    const ids = rows.map(({ id }) => id)
    for (let tries = 0; tries < 600; tries++) {
      await worker.tend()
      const { rows: open } = await database.query<{ outcome: string | null }>(
        `select outcome from ${s}.key_request where id = any ($1::int8[]) and done_at is null limit 1`,
        [ids],
      )
      if (open.length === 0) return await outcomes(ids)
      await worker.progress.wait(clock, 50)
    }
    await database.query(`delete from ${s}.key_request where id = any ($1::int8[]) and done_at is null`, [ids])
    throw new NotReadyError('stopped', name, 'no process folds it, so that nobody could see to the key; start one, or resume it')
  }

  async function outcomes(ids: readonly number[]): Promise<readonly string[]> {
    const { rows } = await database.query<{ outcome: string }>(
      `select outcome from ${s}.key_request where id = any ($1::int8[]) order by id`,
      [ids],
    )
    return rows.map(({ outcome }) => outcome)
  }

  async function askOne(action: 'retry' | 'skip', key: string | null, reason: string | null): Promise<void> {
    const [outcome] = await ask(action, [key], reason)
    if (outcome !== 'done') throw new UsageError(`readModel('${name}').${action}(${key === null ? '' : JSON.stringify(key)}): ${outcome}`)
  }

  /** Until its owners, wherever they run, have given it back; one that was killed has it for as long as its lease lasts. */
  async function setAside(id: number): Promise<void> {
    await database.query(`update ${s}.projection set state = 'paused' where id = $1 and state <> 'stopped'`, [id])
    for (let tries = 0; tries < 100; tries++) {
      await worker.tend()
      const { rows } = await database.query(
        `select from ${s}.checkpoint where projection = $1 and owner is not null and lease_until > clock_timestamp() limit 1`,
        [id],
      )
      if (rows.length === 0) return
      await clock.sleep(50)
    }
  }

  return {
    async status() {
      const found = await status()
      if (!found) throw new NotReadyError('building', name, 'it is not registered yet')
      return found
    },
    verify: verifyOwn,
    async repair() {
      const found = await verifyOwn()
      if (found.differences.length === 0) return found
      log('warn', `${name}: ${found.differences.length} rows differed from their fold and are being folded again`)
      const keys = found.differences.map(({ key }) => key)
      for (let i = 0; i < keys.length; i += 1000) await ask('repair', keys.slice(i, i + 1000), null)
      return found
    },
    async rebuild() {
      await this.repair()
    },
    async parked() {
      const { store, model } = await own()
      return (await store.parked?.(model)) ?? []
    },
    async retry(key) {
      await askOne('retry', key === undefined ? null : keyText(key), null)
    },
    async skip(key, reason) {
      if (typeof reason !== 'string' || reason.trim() === '')
        throw new UsageError(`readModel('${name}').skip(): give a reason; it is recorded`)
      await askOne('skip', keyText(key), reason)
    },
    async pause() {
      const { version } = await own()
      await setAside(version.id)
      log('warn', `${name}: version ${version.version} is paused`)
    },
    async resume() {
      const { version } = await own()
      if (version.state !== 'paused' && version.state !== 'stopped')
        throw new UsageError(`readModel('${name}').resume(): it is neither paused nor stopped`)
      worker.readmit(version.id)
      await restoreProjection(database, runtime.schema, version.id)
      await worker.tend()
    },
    async accept() {
      const found = await own()
      // Whoever folds it must begin anew, and not go on from what it remembers.
      await setAside(found.version.id)
      await reset(runtime, found)
      worker.readmit(found.version.id)
      log('warn', `${name}: the log was accepted as it is; folding everything again`)
      await worker.tend()
    },
    async rollback() {
      await worker.refresh()
      const previous = worker.versions.findLast((version) => version.name === name && version.state === 'previous')
      if (!previous)
        throw new UsageError(
          `readModel('${name}').rollback(): there is no previous version; it is kept for the rollback window after a switch`,
        )
      for (let tries = 0; !(await switchTo(runtime, previous)); tries++) {
        if (tries >= 20)
          throw new NotReadyError(
            'building',
            name,
            `version ${previous.version} does not catch up with the live one; a process with its code must run until it has`,
          )
        await clock.sleep(100)
      }
      log('warn', `${name}: rolled back to version ${previous.version}`)
      await worker.refresh()
    },
    async differences() {
      const next = await own()
      const old = worker.versions.findLast((version) => version.name === name && version.id !== next.version.id)
      if (!old) throw new UsageError(`readModel('${name}').differences(): there is only one version`)
      const place = worker.placeOf(old)
      if (!place) throw new UsageError(`readModel('${name}').differences(): this process does not know the store of version ${old.version}`)
      return await versionDifferences(place, next)
    },
    async why(key) {
      return await why(runtime, await own(), key)
    },
    asOf(moment) {
      const found = worker.own.find(({ version }) => version.name === name)
      if (!found)
        throw new NotReadyError('building', name, 'this process defines an older version than the live one; ask a process that runs that')
      return asOf(runtime, found, moment)
    },
    async divide(ranges) {
      await divide(runtime, await own(), ranges)
      await worker.tend()
    },
  }
}
