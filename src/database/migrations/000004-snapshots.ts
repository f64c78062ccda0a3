/** States of aggregates, so that a long stream is not read from its start. */
export const sql = `
`
