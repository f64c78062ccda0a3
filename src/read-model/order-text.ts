/**
 * JSON scalars as texts whose order by code point is the order of the values: null, false, true, numbers by size, strings by code point. Every
 * store then orders rows the same, whatever it knows of types and collations. Texts of several fields are put one after the other; each begins
 * with a digit below `6`, so that `text + after` is greater than every text that begins with `text`.
 */
export function orderText(value: unknown): string {
  if (value === null || value === undefined) return '0'
  if (value === false) return '1'
  if (value === true) return '2'
  if (typeof value === 'number') return `3${numberText(value)}`
  if (typeof value === 'string') return `4${escaped(value)}\u0001`
  return `5${escaped(JSON.stringify(value))}\u0001`
}

/** Appended to a text it is greater than every text that begins so, and than none that does not. */
export const after = '6'

/** U+0001 ends a text and sorts before everything in it; where a value holds it, or the sign that escapes it, two others that sort the same stand. */
function escaped(text: string): string {
  return text.replaceAll('\u0002', '\u0002\u0004').replaceAll('\u0001', '\u0002\u0003')
}

const bits = new DataView(new ArrayBuffer(8))

/** The bits of an IEEE 754 double, the sign turned so that they sort as unsigned integers do. -0 is 0. */
function numberText(value: number): string {
  bits.setFloat64(0, value === 0 ? 0 : value)
  const raw = bits.getBigUint64(0)
  const sortable = raw >> 63n === 1n ? ~raw & 0xffff_ffff_ffff_ffffn : raw | (1n << 63n)
  return sortable.toString(16).padStart(16, '0')
}

/** The text that orders a row in an index: its fields', then the key, which makes the order total. */
export function indexText(fields: readonly string[], row: Readonly<Record<string, unknown>>, key: string): string {
  return `${fields.map((field) => orderText(row[field])).join('')}4${escaped(key)}\u0001`
}

/** Compares by code point, as UTF-8 bytes do; JavaScript's own `<` compares UTF-16 units, which differs beyond U+FFFF. */
export function compareText(a: string, b: string): number {
  const length = Math.min(a.length, b.length)
  for (let i = 0; i < length; i++) {
    const [x, y] = [a.charCodeAt(i), b.charCodeAt(i)]
    if (x === y) continue
    // Surrogates stand for code points above every other unit.
    const [high, low] = [x >= 0xd800 && x <= 0xdfff, y >= 0xd800 && y <= 0xdfff]
    return high === low ? x - y : high ? 1 : -1
  }
  return a.length - b.length
}
