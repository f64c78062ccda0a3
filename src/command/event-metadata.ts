import type { ExecuteOptions } from '../message/command.ts'
import type { EventMetadata } from '../message/event.ts'

/** Why and by whom the events of a command come to be, as far as its caller said. */
export function eventMetadata(command: string, { context, causationId }: ExecuteOptions): EventMetadata {
  return {
    command,
    ...(typeof context?.actor === 'string' && { actor: context.actor }),
    ...(typeof context?.correlationId === 'string' && { correlationId: context.correlationId }),
    ...(causationId !== undefined && { causationId }),
  }
}
