import { UnknownNameError } from '../errors.ts'
import type { ReactionWorker } from '../reaction/reaction-worker.ts'
import type { ReactionHandle } from './app.ts'

/** The operations on one reaction of this process. @throws {UnknownNameError} */
export function reactionHandle(worker: ReactionWorker, names: readonly string[], name: string): ReactionHandle {
  if (!names.includes(name)) throw new UnknownNameError('reaction', name, names)
  return {
    async status() {
      const found = (await worker.status()).find((status) => status.name === name)
      if (!found) throw new UnknownNameError('reaction', name, names)
      return found
    },
    parked: () => worker.parked(name),
    retry: (id) => worker.retry(name, id),
    skip: (id, reason) => worker.skip(name, id, reason),
    resume: async () => worker.resume(name),
    accept: () => worker.accept(name),
  }
}
