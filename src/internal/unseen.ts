const patienceMs = 1000

/**
 * How much older than it says a thing is that was last seen at `seenAt` and is looked at every `pollMs`: nothing while looks come as they should, and
 * all the time since the last one when they no longer do.
 */
export function unseenMs(now: number, seenAt: number, pollMs: number): number {
  const age = now - seenAt
  return age > pollMs + patienceMs ? age : 0
}
