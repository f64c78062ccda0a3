/** What reactions have seen, and the commands they have yet to send. */
export const sql = `
`
