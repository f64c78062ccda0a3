import { type Decoder, decoderOf, identity } from './value.ts'

/** The values of one answer while they come: a value that cannot be given fails the answer, and not the conversation it is part of. */
export class Decoding {
  #columns = 0
  #refused: { readonly column: number; readonly decode: Decoder; readonly text: string } | undefined

  /** What decodes the next column, in the order of the answer. */
  column(oid: number): (text: string) => unknown {
    const column = this.#columns++
    const decode = decoderOf(oid)
    if (decode === identity) return identity as (text: string) => unknown
    return (text) => {
      try {
        return decode(text, '')
      } catch {
        this.#refused ??= { column, decode, text }
        return null
      }
    }
  }

  /** Why the answer cannot be given, if it cannot; `names` are those of its columns. */
  refusal(names: readonly string[]): Error | undefined {
    if (!this.#refused) return undefined
    const { column, decode, text } = this.#refused
    try {
      decode(text, names[column] ?? '')
      return undefined
    } catch (error) {
      return error as Error
    }
  }
}
