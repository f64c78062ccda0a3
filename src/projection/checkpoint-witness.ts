import { LogMismatchError } from '../errors.ts'
import type { EventLog } from '../log/log.ts'
import type { Checkpoint, Store, StoredModel } from '../read-model/store.ts'
import type { ProjectionVersion } from './registry.ts'

/**
 * Refuses to go on over a log that is not the one the rows were folded from: the event that a checkpoint stands on must still be there, at its place.
 * @throws {LogMismatchError}
 */
export async function checkWitness(eventLog: EventLog, name: string, checkpoint: Checkpoint | null): Promise<void> {
  if (!checkpoint || checkpoint.position === 0) return
  const { position, eventId } = checkpoint
  const [event] = await eventLog.read({ after: position - 1, limit: 1 })
  const accept = `readModel('${name}').accept() folds it again from the log as it is now`
  if (!event) {
    throw new LogMismatchError(
      `${name}: its checkpoint is at position ${position}, which the log does not have: the log was restored or replaced; ${accept}`,
      {
        position,
        eventId,
      },
    )
  }
  if (event.position === position && (eventId === null || event.id === eventId)) return
  throw new LogMismatchError(
    `${name}: at position ${position} the log has event ${event.id}, and not ${eventId} that its rows were folded from: the log was restored or replaced; ${accept}`,
    { position, eventId, found: event.id },
  )
}

/**
 * The same for rows that were found when somebody begins to work on them. In another store, where no build of this application was seen to
 * be finished, they may be those of an application with the same names.
 * @throws {LogMismatchError}
 */
export async function checkOrigin(
  eventLog: EventLog,
  { version, store, model }: { readonly version: ProjectionVersion; readonly store: Store; readonly model: StoredModel },
  checkpoint: Checkpoint | null,
): Promise<void> {
  try {
    await checkWitness(eventLog, version.name, checkpoint)
  } catch (error) {
    if (!(error instanceof LogMismatchError) || version.store === null || version.builtAt !== null) throw error
    throw new LogMismatchError(
      `${model.name}: ${store.description} holds rows as version ${model.version} of ${model.owner}.${model.name} that were not folded from this log: the log was restored or replaced, or they are another application's, which then wants another "schema"; readModel('${model.name}').accept() folds it again from the log as it is now`,
      error.details,
    )
  }
}
