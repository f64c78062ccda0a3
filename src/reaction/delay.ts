import { DefinitionError } from '../errors.ts'

const units: Readonly<Record<string, number>> = { s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 }
const longestMs = 3650 * 86_400_000

/**
 * The milliseconds in a delay such as `30s`, `5m`, `2h` or `3d`: a whole number from 1 and a unit.
 * @throws {DefinitionError} anything else, and more than ten years
 */
export function delayMs(subject: string, text: string): number {
  const match = /^([1-9]\d{0,8})([smhd])$/.exec(text)
  const ms = match ? Number(match[1]) * (units[match[2] ?? ''] ?? Number.NaN) : Number.NaN
  if (ms <= longestMs) return ms
  throw new DefinitionError(
    `${subject}: "after" is ${JSON.stringify(text)}; give a whole number and a unit, such as '30s', '5m', '2h' or '3d', up to '3650d'`,
  )
}
