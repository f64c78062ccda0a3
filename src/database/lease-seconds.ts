/** How long what a process works on stays its own when it says nothing, by the clock of the write database. */
export const leaseSeconds = 3
