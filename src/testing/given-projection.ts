import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import type { Event, EventMetadata } from '../index.ts'
import { canonicalJson } from '../internal/json.ts'

/** What a test says of an event: what the maker gave, its stream, and whatever else a handler looks at. */
export interface HappenedEvent {
  readonly type: string
  readonly data: unknown
  /** Default `stream`. */
  readonly stream?: string
  readonly version?: number
  readonly position?: number
  readonly time?: string
  readonly metadata?: EventMetadata
}

/** Any projection: what `projection()` makes. */
interface TestedProjection<Row> {
  readonly readModelName: string
  readonly '~reader': { get(key: never): Promise<Row | undefined> }
  readonly '~projection': {
    readonly from: readonly { readonly aggregateName: string; readonly schemas: Readonly<Record<string, unknown>> }[]
  }
  readonly '~fold': (events: readonly Event[]) => readonly {
    readonly key: string
    readonly row: unknown
    readonly parked: { readonly reason: string } | undefined
  }[]
}

/** What may be expected of a projection after some events. Throws an `AssertionError` when it is otherwise. */
export interface FoldedSpec<Row> {
  /**
   * It holds exactly these rows, by key (a composite key as `[key, row]` in a list), and nothing is parked.
   */
  then(rows: Readonly<Record<string, Row>> | readonly (readonly [key: unknown, row: Row])[]): void
  /** This key is parked, for this reason. */
  thenParked(key: unknown, reason?: RegExp): void
}

/**
 * A specification of a projection: given events, then rows. Runs the handlers alone, in no database, and works with any test runner. An event is what
 * a maker gives, with the stream (and whatever else the handlers look at) added to it.
 *
 * @example
 * givenProjection(balances)
 *   .events({ ...account.events.AccountOpened({ owner: 'Ann' }), stream: 'a' }, { ...account.events.MoneyDeposited({ amount: 5 }), stream: 'a' })
 *   .then({ a: { owner: 'Ann', balance: 5 } })
 */
export function givenProjection<Row>(projection: TestedProjection<Row>): { events(...events: readonly HappenedEvent[]): FoldedSpec<Row> } {
  return {
    events(...events) {
      const folded = projection['~fold'](complete(projection, events))
      return {
        then(rows) {
          const parked = folded.find((one) => one.parked)
          if (parked) assert.fail(`key ${parked.key} is parked: ${parked.parked?.reason}`)
          const wanted = (Array.isArray(rows) ? rows : Object.entries(rows)) as readonly (readonly [unknown, Row])[]
          const actual = folded.filter(({ row }) => row !== undefined).map(({ key, row }) => [key, row] as const)
          assert.deepEqual(Object.fromEntries(actual), Object.fromEntries(wanted.map(([key, row]) => [keyText(key), row])))
        },
        thenParked(key, reason = /./) {
          const found = folded.find((one) => one.key === keyText(key))
          if (!found?.parked) assert.fail(`key ${keyText(key)} is not parked`)
          assert.match(found.parked.reason, reason)
        },
      }
    },
  }
}

function complete(projection: TestedProjection<unknown>, events: readonly HappenedEvent[]): readonly Event[] {
  const versions = new Map<string, number>()
  return events.map((event, i) => {
    const source = projection['~projection'].from.find(({ schemas }) => Object.hasOwn(schemas, event.type))
    if (!source) assert.fail(`projection ${projection.readModelName}: none of its aggregates has an event ${event.type}`)
    const { stream = 'stream' } = event
    const version = event.version ?? (versions.get(`${source.aggregateName}-${stream}`) ?? 0) + 1
    versions.set(`${source.aggregateName}-${stream}`, version)
    return {
      id: randomUUID(),
      aggregate: source.aggregateName,
      position: i + 1,
      time: '2024-01-01T00:00:00.000000Z',
      schemaVersion: 1,
      metadata: {},
      ...event,
      stream,
      version,
      // As it would be read back.
      data: JSON.parse(JSON.stringify(event.data ?? null)) as unknown,
    }
  })
}

function keyText(key: unknown): string {
  return typeof key === 'string' ? key : canonicalJson(key)
}
