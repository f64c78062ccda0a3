/** The name under which the log stores a stream. Names of aggregates have no '-', so it can be taken apart again. */
export function storedStream(aggregate: string, stream: string): string {
  return `${aggregate}-${stream}`
}

/** The inverse of {@link storedStream}. */
export function partsOfStream(stored: string): { readonly aggregate: string; readonly stream: string } {
  const cut = stored.indexOf('-')
  return { aggregate: stored.slice(0, cut), stream: stored.slice(cut + 1) }
}
