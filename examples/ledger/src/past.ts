import { type Column, InvalidInputError, type Moment, type ProjectionReader, type Reader, UsageError } from 'headwater'
import { z } from 'zod'

/** A position as a decimal string, or a time. */
export const asOf = z
  .union([z.string().regex(/^\d{1,15}$/, 'a position of the log, or a time, is expected'), z.iso.datetime({ offset: true })])
  .transform((text): Moment => (/^\d+$/.test(text) ? { position: Number(text) } : { time: text }))
  .optional()

/**
 * Reads from a read model as it is, or as it was at a moment: then it is folded anew, from the events up to it.
 * @throws {InvalidInputError} a moment that has not come
 */
export async function readAt<Row, Key, Indexed extends Column<Row>, Result>(
  moment: Moment | undefined,
  now: ProjectionReader<Row, Key, Indexed>,
  read: (reader: Reader<Row, Key, Indexed>) => Promise<Result>,
): Promise<Result> {
  if (!moment) return await read(now)
  try {
    return await read(now.asOf(moment))
  } catch (error) {
    if (!(error instanceof UsageError)) throw error
    throw new InvalidInputError('query', [{ path: ['asOf'], message: error.message }])
  }
}
