import { z } from 'zod'

/**
 * A place in an ordered list, as clients see it: opaque text. It holds the ordering columns of the last row of a page, so that the next page begins
 * after that row whatever was written meanwhile.
 */
export function encodeCursor(place: readonly string[]): string {
  return Buffer.from(JSON.stringify(place)).toString('base64url')
}

/** A schema that takes such a text (or null: from the beginning) and gives the place back, checked against `place`. */
export function cursorOf<Place extends z.ZodType>(place: Place) {
  return z
    .string()
    .max(500)
    .nullish()
    .transform((text, context): z.output<Place> | undefined => {
      if (text == null) return undefined
      const decoded = place.safeParse(parseJson(Buffer.from(text, 'base64url').toString()))
      if (decoded.success) return decoded.data
      context.addIssue({ code: 'custom', message: 'is no "next" of a page of this query' })
      return z.NEVER
    })
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}
