/** The log: events, and the function that appends them. */
export const sql = `
`
