import { aggregate, type Event } from 'headwater'
import { z } from 'zod'
import { type Folding, foldingOf as folded } from '../../src/projection/fold.ts'
import { projection } from '../../src/projection/projection.ts'
import type { Projection } from '../../src/projection/projection-definition.ts'

export const item = aggregate('item', {
  events: {
    Added: z.object({ to: z.array(z.string()), n: z.int() }),
    Removed: z.object({ to: z.array(z.string()) }),
    Ignored: z.object({}),
  },
  initialState: () => ({}),
  evolve: { Added: (state) => state, Removed: (state) => state, Ignored: (state) => state },
})

/** An event of an item, by hand. */
export function event(position: number, type: string, data: unknown, more: Partial<Event> = {}): Event {
  return {
    id: `00000000-0000-4000-8000-${String(position).padStart(12, '0')}`,
    aggregate: 'item',
    stream: 's',
    version: position,
    position,
    time: '2026-01-01T00:00:00.000000Z',
    schemaVersion: 1,
    metadata: {},
    type,
    data,
    ...more,
  }
}

/** Sums by key, with a list; -1 fails, 0 leaves, and it deletes. Deliberately sensitive to what came before. */
export const sums = projection('sums', {
  from: [item],
  row: z.object({ sum: z.int(), last: z.array(z.int()) }),
  key: ({ data, type }) => (type === 'Ignored' ? [] : (data as { to: string[] }).to),
  on: {
    Added: (row, { data }) => {
      if (data.n === -1) throw new Error('minus one')
      if (data.n === 0) return undefined
      return { sum: (row?.sum ?? 100) * 2 + data.n, last: [...(row?.last ?? []), data.n].slice(-3) }
    },
    Removed: () => null,
  },
  indexes: { bySum: ['sum'] },
})

export function foldingOf({ readModelName, '~projection': definition }: Pick<Projection, 'readModelName' | '~projection'>): Folding {
  return folded(readModelName, definition)
}
