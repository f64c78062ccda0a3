const events = ['SIGINT', 'SIGTERM', 'uncaughtException', 'unhandledRejection']

/** Remembers who listens for the end of this process; the answer sends everybody else away: peers would end it in their own way, without tidying up. */
export function ownSignals() {
  const before = new Map(events.map((event) => [event, new Set(process.listeners(event))]))
  return () => {
    for (const [event, known] of before) {
      for (const listener of process.listeners(event)) if (!known.has(listener)) process.off(event, /** @type {any} */ (listener))
    }
  }
}
