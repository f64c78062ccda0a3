import type { CompanionPart, KeyedAnswer } from './log.ts'
import type { ReadyAppend } from './ready-append.ts'

/** What sync projections add to the requests of a group. */
export interface GroupParts {
  readonly projections: readonly number[]
  /** In the order of the requests. */
  readonly parts: readonly CompanionPart[]
}

type Column = readonly (string | number | null)[] | null

/** The parameters of the function `append`, by name. Requests and stream entries count from 1. */
export type AppendColumns = Readonly<Record<(typeof columnNames)[number], Column>>

/** In the order of the function's parameters. */
export const columnNames = [
  'request_events',
  'stream_request',
  'stream_name',
  'stream_expected',
  'event_entry',
  'event_offset',
  'event_stream',
  'event_id',
  'event_type',
  'event_schema',
  'event_data',
  'event_metadata',
  'key_request',
  'key_name',
  'key_text',
  'key_hash',
  'key_state',
  'key_result',
  'key_code',
  'kept',
  'row_request',
  'row_projection',
  'row_key',
  'row_was',
  'row_event',
  'row_version',
  'row_json',
  'row_texts',
  'need_request',
  'need_on',
] as const

/** A group as arrays: one statement with the same text, whatever it holds. */
export function appendColumns(group: readonly ReadyAppend[], companion: GroupParts | undefined): AppendColumns {
  return { ...streamColumns(group), ...eventColumns(group), ...keyColumns(group), ...companionColumns(companion) }
}

function streamColumns(group: readonly ReadyAppend[]) {
  return {
    request_events: group.map(({ events }) => events.length),
    stream_request: group.flatMap(({ streams }, i) => streams.map(() => i + 1)),
    stream_name: group.flatMap(({ streams }) => streams),
    stream_expected: group.flatMap(({ expected }) => expected),
  }
}

function eventColumns(group: readonly ReadyAppend[]) {
  let before = 1
  const events = group.flatMap(({ streams, events }) => {
    const first = before
    before += streams.length
    return events.map((event) => ({ ...event, number: first + event.entry, stream: streams[event.entry] ?? '' }))
  })
  return {
    event_entry: events.map(({ number }) => number),
    event_offset: events.map(({ place }) => place),
    event_stream: events.map(({ stream }) => stream),
    event_id: events.map(({ event }) => event.id),
    event_type: events.map(({ event }) => event.type),
    event_schema: events.map(({ event }) => event.schemaVersion),
    event_data: events.map(({ data }) => data),
    event_metadata: events.map(({ metadata }) => metadata),
  }
}

interface NumberedAnswer {
  readonly number: number
  readonly answer: KeyedAnswer
  readonly result: string | undefined
}

function keyColumns(group: readonly ReadyAppend[]) {
  const answers: readonly NumberedAnswer[] = group.flatMap(({ request: { answer }, result }, i) =>
    answer ? [{ number: i + 1, answer, result }] : [],
  )
  const column = <T extends string | number | null>(of: (each: NumberedAnswer) => T) => (answers.length === 0 ? null : answers.map(of))
  return {
    key_request: column(({ number }) => number),
    key_name: column(({ answer }) => answer.command),
    key_text: column(({ answer }) => answer.key),
    key_hash: column(({ answer }) => answer.inputHash),
    key_state: column(({ answer }) => (answer.refusal ? 'refused' : 'done')),
    key_result: column(({ result }) => result ?? null),
    key_code: column(({ answer }) => answer.refusal?.code ?? null),
  }
}

function companionColumns(companion: GroupParts | undefined) {
  const rows = (companion?.parts ?? []).flatMap((part, i) => part.rows.map((row) => ({ ...row, number: i + 1 })))
  const needs = (companion?.parts ?? []).flatMap((part, i) => part.needs.map((need) => ({ number: i + 1, need: need + 1 })))
  const column = <T extends string | number | null>(of: (row: (typeof rows)[number]) => T) => (rows.length === 0 ? null : rows.map(of))
  return {
    kept: companion && companion.projections.length > 0 ? companion.projections : null,
    row_request: column(({ number }) => number),
    row_projection: column(({ projection }) => projection),
    row_key: column(({ key }) => key),
    row_was: column(({ was }) => was),
    row_event: column(({ event }) => event),
    row_version: column(({ version }) => version),
    row_json: column(({ row }) => row),
    row_texts: column(({ index }) => arrayText(index)),
    need_request: needs.length === 0 ? null : needs.map(({ number }) => number),
    need_on: needs.length === 0 ? null : needs.map(({ need }) => need),
  }
}

/** An SQL array within an array is not possible with different lengths, so each row's texts travel as one text. */
function arrayText(texts: readonly string[]): string {
  return `{${texts.map((text) => `"${text.replace(/["\\]/g, '\\$&')}"`).join(',')}}`
}
