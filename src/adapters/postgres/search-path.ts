/** Schemas as the value of the setting `search_path`. */
export function searchPathOf(schemas: string | readonly string[]): string {
  return [schemas]
    .flat()
    .map((schema) => `"${schema.replaceAll('"', '""')}"`)
    .join(', ')
}
