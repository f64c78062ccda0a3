import { type Checkpoint, type Parked, partitionCount, partitionOf, type StoredRow } from '../../index.ts'
import { coveredCount, type Run } from '../../internal/runs.ts'

/** The format that this version writes, and the only one that it knows. */
export const stateFormat = '1'

/** A checkpoint as a text that is equal only for equal ones; empty for none. */
export function checkpointText(checkpoint: Checkpoint | null): string {
  if (!checkpoint) return ''
  const { position, eventId } = checkpoint
  return `${position}:${eventId === null ? '-' : `=${encodeURIComponent(eventId)}`}`
}

/** What the state of a version says. */
export interface State {
  readonly format: string
  readonly parked: number
  readonly runs: readonly Run<Checkpoint>[]
}

/** undefined: nobody of us wrote it. Of another format only that is known. */
export function parseState(text: string): State | undefined {
  const format = /^(\d+)\|/.exec(text)?.[1]
  if (format === undefined) return undefined
  if (format !== stateFormat) return { format, parked: 0, runs: [] }
  const [, parked, checkpoints = ''] = /^\d+\|(\d+)\|((?:\d+-\d+=\d+:[^;]*;)*)$/s.exec(text) ?? []
  return parked === undefined ? undefined : { format, parked: Number(parked), runs: parseRuns(checkpoints) }
}

/** Checkpoints by range of partitions, as the scripts write them: `<first>-<last>=<checkpoint>;` after one another. */
function parseRuns(text: string): readonly Run<Checkpoint>[] {
  return text
    .split(';')
    .filter(Boolean)
    .map((run) => {
      const [, first, last, position, id = ''] = /^(\d+)-(\d+)=(\d+):(.*)$/s.exec(run) ?? []
      const eventId = id.startsWith('=') ? decodeURIComponent(id.slice(1)) : null
      return { first: Number(first), last: Number(last), value: { position: Number(position), eventId } }
    })
}

/** The lowest checkpoint, if every partition has one. */
export function lowestOf(runs: readonly Run<Checkpoint>[]): Checkpoint | null {
  if (coveredCount(runs) < partitionCount) return null
  return runs.map(({ value }) => value).reduce((lowest, value) => (value.position < lowest.position ? value : lowest))
}

/** A value of the hash of rows. */
export function rowText(position: number, version: number | null, row: string): string {
  return `${position}:${version ?? ''}:${row}`
}

/** What stands for a key in the hashes of rows and of parked keys. A deleted row that the checkpoint has passed is only not yet forgotten: it is not there. */
export function storedRow(
  key: string,
  found: string | null,
  parked: string | null | undefined,
  runs: readonly Run<Checkpoint>[],
): StoredRow | undefined {
  const text = found?.endsWith(':') && isBehind(key, Number.parseInt(found, 10), runs) ? null : found
  if (text === null && !parked) return undefined
  const one = text?.indexOf(':') ?? 0
  const two = text?.indexOf(':', one + 1) ?? 0
  const version = text?.slice(one + 1, two)
  return {
    key,
    row: text?.slice(two + 1) || undefined,
    position: Number(text?.slice(0, one) ?? 0),
    version: version ? Number(version) : null,
    parked: parked ? (JSON.parse(parked) as Parked) : undefined,
  }
}

/** Whether the checkpoint of a key's partition is that far. */
function isBehind(key: string, position: number, runs: readonly Run<Checkpoint>[]): boolean {
  const partition = partitionOf(key)
  return runs.some(({ first, last, value }) => partition >= first && partition <= last && position <= value.position)
}
