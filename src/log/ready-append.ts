import { InvalidInputError } from '../errors.ts'
import { jsonFault } from '../internal/json.ts'
import type { AppendRequest, EventToAppend, ExpectedVersion, KeyedAnswer, StreamAppend } from './log.ts'
import { storedStream } from './stored-stream.ts'

/** What the log takes at most: of one event, and of one request or group. */
export const limits = { nameBytes: 256, eventBytes: 256 * 1024, events: 500, bytes: 4 * 1024 * 1024 } as const

/** An event of a request, as it is sent. */
export interface ReadyEvent {
  /** Which of the request's streams it is for, from 0. */
  readonly entry: number
  /** Its place among the events of that stream, from 1. */
  readonly place: number
  readonly event: EventToAppend
  readonly data: string
  readonly metadata: string
  readonly bytes: number
}

/** A request that was checked and written as text: whatever is refused is refused before it can meet others in a group. */
export interface ReadyAppend {
  readonly request: AppendRequest
  /** The stored names of its streams. */
  readonly streams: readonly string[]
  readonly expected: readonly number[]
  readonly events: readonly ReadyEvent[]
  /** Of the command and its key, as one text. */
  readonly key: string | undefined
  /** The recorded result, or the details of the refusal. */
  readonly result: string | undefined
  readonly bytes: number
}

type Path = readonly (string | number)[]

/** Checks a request and makes it ready. @throws {InvalidInputError} it is beyond a limit, or holds what JSON or PostgreSQL cannot keep */
export function readyAppend(request: AppendRequest): ReadyAppend {
  const streams = request.streams.map(streamName)
  if (new Set(streams).size < streams.length) throw refusal(['streams'], 'a stream is named twice')
  const events = request.streams.flatMap(readyEvents)
  const result = request.answer && readyAnswer(request.answer)
  const bytes = events.reduce((sum, event) => sum + event.bytes, result ? Buffer.byteLength(result) : 0)
  if (events.length > limits.events) throw refusal(['streams'], `${events.length} events instead of ${limits.events} at most`)
  if (bytes > limits.bytes) throw refusal(['streams'], `${bytes} bytes instead of ${limits.bytes} at most`)
  const { answer } = request
  return {
    request,
    streams,
    expected: request.streams.map(({ expected }, i) => expectedNumber(expected, ['streams', i, 'expected'])),
    events,
    key: answer && `${answer.command}\u0000${answer.key}`,
    result,
    bytes,
  }
}

function streamName({ aggregate, stream }: StreamAppend, i: number): string {
  checkText(aggregate, ['streams', i, 'aggregate'])
  if (aggregate.includes('-')) throw refusal(['streams', i, 'aggregate'], 'the name of an aggregate has no "-"')
  checkText(stream, ['streams', i, 'stream'])
  return storedStream(aggregate, stream)
}

function readyEvents({ events }: StreamAppend, i: number): readonly ReadyEvent[] {
  return events.map((event, k) => {
    const path = ['streams', i, 'events', k]
    checkText(event.type, path, 'type')
    if (!uuid.test(event.id)) throw refusal([...path, 'id'], 'is no UUID')
    if (!(Number.isInteger(event.schemaVersion) && event.schemaVersion > 0 && event.schemaVersion < 2 ** 15)) {
      throw refusal([...path, 'schemaVersion'], 'is no whole number from 1 to 32767')
    }
    const data = jsonText(event.data, path, 'data')
    const metadata = jsonText(event.metadata, path, 'metadata')
    const bytes = Buffer.byteLength(data) + Buffer.byteLength(metadata)
    if (bytes > limits.eventBytes) throw refusal(path, `has ${bytes} bytes instead of ${limits.eventBytes} at most`)
    return { entry: i, place: k + 1, event, data, metadata, bytes }
  })
}

function readyAnswer({ command, key, inputHash, result, refusal: refused }: KeyedAnswer): string | undefined {
  checkText(command, ['answer', 'command'])
  checkText(key, ['answer', 'key'])
  checkText(inputHash, ['answer', 'inputHash'])
  if (!refused) return result === undefined ? undefined : jsonText(result, ['answer', 'result'])
  checkText(refused.code, ['answer', 'refusal', 'code'])
  return refused.details === undefined ? undefined : jsonText(refused.details, ['answer', 'refusal', 'details'])
}

const uuid = /^[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}$/i
const forbidden = new Set(['__proto__', 'constructor', 'prototype'])

/** A text that is stored as such: an id, a name, a key. */
function checkText(text: string, path: Path, ...below: Path): void {
  const bytes = Buffer.byteLength(text)
  if (bytes < 1 || bytes > limits.nameBytes) throw refusal([...path, ...below], `has ${bytes} bytes instead of 1 to ${limits.nameBytes}`)
  if (forbidden.has(text)) throw refusal([...path, ...below], `may not be ${text}`)
  const fault = jsonFault(text)
  if (fault) throw refusal([...path, ...below], fault.message)
}

function jsonText(value: unknown, path: Path, ...below: Path): string {
  const fault = jsonFault(value)
  if (fault) throw refusal([...path, ...below, ...fault.path], fault.message)
  try {
    return JSON.stringify(value) ?? 'null'
  } catch (error) {
    throw refusal([...path, ...below], `cannot be written as JSON: ${error instanceof Error ? error.message : error}`)
  }
}

/** An expected version as the append function understands it. */
function expectedNumber(expected: ExpectedVersion, path: Path): number {
  if (expected === 'no_stream') return 0
  if (expected === 'stream_exists') return -1
  if (expected === 'any') return -2
  if (Number.isInteger(expected) && expected >= 0 && expected < 2 ** 31) return expected
  throw refusal(path, 'is no version: a whole number from 0')
}

/** Whether a stream at `actual` is what was expected. */
export function isExpected(expected: ExpectedVersion, actual: number): boolean {
  if (expected === 'any') return true
  if (expected === 'stream_exists') return actual > 0
  return actual === (expected === 'no_stream' ? 0 : expected)
}

function refusal(path: Path, message: string): InvalidInputError {
  return new InvalidInputError('append', [{ path, message }])
}
