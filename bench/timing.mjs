import { randomUUID } from 'node:crypto'

/** Clients, clocks and what is made of their figures. */

/** @param {readonly number[]} values @param {number} share from 0 to 1 */
export function percentile(values, share) {
  const sorted = [...values].sort((a, b) => a - b)
  return sorted[Math.min(sorted.length - 1, Math.ceil(share * sorted.length) - 1)] ?? Number.NaN
}

/** @param {readonly number[]} values */
export const median = (values) => {
  const sorted = [...values].sort((a, b) => a - b)
  const middle = sorted.length >> 1
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2
}

/**
 * The median of each side's rounds.
 * @param {Readonly<Record<string, readonly number[]>>} rounds
 * @returns {Record<string, number>}
 */
export const medians = (rounds) => Object.fromEntries(Object.entries(rounds).map(([side, values]) => [side, median(values)]))

/** @param {number} ms */
export const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms))

/**
 * How long `work` takes, in milliseconds.
 * @param {() => Promise<unknown>} work
 */
export async function timed(work) {
  const began = performance.now()
  await work()
  return performance.now() - began
}

/**
 * Runs every side once per round, A B C, then B C A, ..., so that whatever else the machine does meets all of them alike.
 * @template T
 * @param {number} rounds
 * @param {Readonly<Record<string, (round: number) => Promise<T>>>} sides
 * @returns {Promise<Record<string, T[]>>} what each side answered, round by round
 */
export async function interleave(rounds, sides) {
  const names = Object.keys(sides)
  /** @type {Record<string, T[]>} */
  const answers = Object.fromEntries(names.map((name) => [name, []]))
  for (let round = 0; round < rounds; round++) {
    for (let i = 0; i < names.length; i++) {
      const name = names[(round + i) % names.length]
      answers[name].push(await sides[name](round))
    }
  }
  return answers
}

/**
 * So many clients, each sending its next request when the last one is answered.
 * @param {{ clients: number, ms: number }} load
 * @param {(client: number, request: number) => Promise<unknown>} request
 */
export async function closedLoop({ clients, ms }, request) {
  /** @type {number[]} */
  const latencies = []
  const began = performance.now()
  const end = began + ms
  const client = async (/** @type {number} */ id) => {
    for (let i = 0; performance.now() < end; i++) {
      const sent = performance.now()
      await request(id, i)
      latencies.push(performance.now() - sent)
    }
  }
  await Promise.all(Array.from({ length: clients }, (_client, id) => client(id)))
  const seconds = (performance.now() - began) / 1000
  return { perSecond: latencies.length / seconds, p50: percentile(latencies, 0.5), p99: percentile(latencies, 0.99) }
}

/**
 * Sends requests at a rate, whether or not the last one is answered, until stopped.
 * @param {number} perSecond
 * @param {(request: number) => Promise<unknown>} request
 */
export function paced(perSecond, request) {
  const began = performance.now()
  /** @type {Set<Promise<unknown>>} */
  const open = new Set()
  /** @type {unknown} */
  let failure
  let sent = 0
  const timer = setInterval(() => {
    const due = Math.floor(((performance.now() - began) / 1000) * perSecond)
    for (; sent < due; sent++) {
      const answer = request(sent)
        .catch((error) => {
          failure ??= error
        })
        .finally(() => open.delete(answer))
      open.add(answer)
    }
  }, 4)
  return {
    /** Resolves to how many were sent, when all are answered. */
    async stop() {
      clearInterval(timer)
      await Promise.all(open)
      if (failure) throw failure
      return sent
    },
  }
}

/**
 * One write after the other, each looked for without pause. What has not come after a while counts as that.
 * @param {{ readonly write: (id: string) => Promise<unknown>, readonly sees: (id: string, events: number) => Promise<boolean> }} side
 * @param {number} count @param {number} mostMs for all of them @param {number} givenUpMs for one
 */
export async function probes(side, count, mostMs, givenUpMs = mostMs) {
  const times = []
  const end = performance.now() + mostMs
  for (let i = 0; i < count && performance.now() < end; i++) {
    const id = randomUUID()
    await side.write(id)
    const committed = performance.now()
    while (!(await side.sees(id, 1))) if (performance.now() - committed > givenUpMs) break
    times.push(performance.now() - committed)
    await sleep(10 + Math.random() * 20)
  }
  return times
}
