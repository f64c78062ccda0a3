/**
 * Where PostgreSQL puts the beginning and the end of a match: two characters of the private use area, which mean nothing in any text and are taken
 * out of it before. They are turned into tags only after everything else is escaped.
 */
const start = '\u{e000}'
const stop = '\u{e001}'

export const markers = {
  all: start + stop,
  /** For `ts_headline`. A post is short enough to be shown whole. */
  options: `HighlightAll=true, StartSel=${start}, StopSel=${stop}`,
}

const entities: Readonly<Record<string, string>> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;', "'": '&#39;' }

/** Text with those markers as HTML: everything escaped but the matches, which stand in `<mark>`. */
export function markedSnippet(text: string): string {
  return text
    .replace(/[&<>"']/g, (character) => entities[character] ?? '')
    .replaceAll(start, '<mark>')
    .replaceAll(stop, '</mark>')
}
