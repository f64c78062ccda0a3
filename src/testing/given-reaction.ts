import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import type { CommandMessage } from '../index.ts'

/** What a test says of an event: what the maker gave, and whatever else the handler looks at. */
interface GivenEvent {
  readonly type: string
  readonly data: unknown
  readonly stream?: string
  readonly aggregate?: string
  readonly version?: number
  readonly time?: string
  readonly metadata?: { readonly actor?: string; readonly correlationId?: string; readonly causationId?: string; readonly command?: string }
}

/** Any reaction: what `reaction()` makes. */
interface TestedReaction {
  readonly reactionName: string
  readonly '~reaction': {
    readonly sources: ReadonlyMap<string, { readonly schemas: Readonly<Record<string, unknown>> }>
    readonly handlers: ReadonlyMap<string, (event: never) => unknown>
  }
}

/** What may be expected of a reaction. Throws an `AssertionError` when it is otherwise. */
export interface ReactionSpec {
  /** It sends exactly these commands, in this order; none: it sends nothing. */
  then(...commands: readonly CommandMessage[]): void
  /** Its handler throws, and the event would be parked. */
  thenFails(message?: RegExp): void
}

/**
 * A specification of a reaction: given events, then commands. Runs the handlers alone, in no database, and works with any test runner. An event is
 * what a maker gives, with the stream (and whatever else the handler looks at) added to it.
 *
 * @example
 * givenReaction(refund, { ...transfer.events.TransferFailed({ from, amount: 5 }), stream: transferId }).then(deposit({ accountId: from, amount: 5 }))
 */
export function givenReaction(reaction: TestedReaction, ...events: readonly GivenEvent[]): ReactionSpec {
  return {
    then(...commands) {
      assert.deepEqual(sent(reaction, events).map(plain), commands.map(plain))
    },
    thenFails(message) {
      assert.throws(() => sent(reaction, events), message ?? Error)
    },
  }
}

function sent(reaction: TestedReaction, events: readonly GivenEvent[]): readonly CommandMessage[] {
  return events.flatMap((event, i) => {
    const { handlers, sources } = reaction['~reaction']
    const aggregate = [...sources].find(([, { schemas }]) => Object.hasOwn(schemas, event.type))?.[0]
    if (aggregate === undefined) throw new Error(`reaction ${reaction.reactionName}: none of its aggregates has an event ${event.type}`)
    const complete = {
      aggregate,
      stream: 'stream',
      version: i + 1,
      time: '2024-01-01T00:00:00.000000Z',
      metadata: {},
      id: randomUUID(),
      position: i + 1,
      schemaVersion: 1,
      ...event,
    }
    const returned = handlers.get(event.type)?.(complete as never)
    if (returned instanceof Promise) throw new Error(`reaction ${reaction.reactionName}: the handler of ${event.type} returned a promise`)
    return (returned === undefined ? [] : Array.isArray(returned) ? returned : [returned]) as readonly CommandMessage[]
  })
}

function plain({ command, input }: CommandMessage): unknown {
  return { command, input: JSON.parse(JSON.stringify(input ?? null)) }
}
