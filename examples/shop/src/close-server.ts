import type { ServerType } from '@hono/node-server'

const patienceMs = 10_000
const lookMs = 50

/**
 * Takes no more connections and lets the requests under way finish. Resolves when the last connection is closed: those on which nothing is asked at once,
 * the others when they were answered, or when patience is at an end.
 */
export async function closeServer(server: ServerType): Promise<void> {
  const closed = new Promise<void>((resolve) => server.close(() => resolve()))
  // A connection that was kept alive becomes idle with its answer.
  const looking = setInterval(() => 'closeIdleConnections' in server && server.closeIdleConnections(), lookMs)
  const late = setTimeout(() => cutConnections(server), patienceMs)
  await closed
  clearInterval(looking)
  clearTimeout(late)
}

/** Ends all connections, whatever is asked on them. */
export function cutConnections(server: ServerType): void {
  if ('closeAllConnections' in server) server.closeAllConnections()
}
