import { NotReadyError } from '../errors.ts'

/** What is said of a version whose rows are in a store that no definition of this process names. */
export function inUnknownStore(store: string | null): string {
  return `its rows are in ${store}, which this process does not use`
}

/** Why such a version does not answer, and what to do. `isMoving`: a version elsewhere, which this process knows, is on its way. */
export function unknownStoreError(name: string, store: string | null, isMoving: boolean): NotReadyError {
  if (isMoving) return new NotReadyError('building', name, `${inUnknownStore(store)}; they are being built in another place`)
  const back = `readModel(${JSON.stringify(name)}).rollback() makes the version before it live again`
  return new NotReadyError('stopped', name, `${inUnknownStore(store)}: run the code that does, or ${back}`)
}
