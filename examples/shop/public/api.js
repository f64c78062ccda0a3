import { uuid } from './ids.js'

/** The answer was a problem: `code` is stable, `message` is for people. */
export class Problem extends Error {
  constructor(problem) {
    super(problem.detail || problem.title || 'Something went wrong')
    this.code = problem.code
    this.status = problem.status
    this.errors = problem.errors ?? []
    this.details = problem.details
  }
}

const storageKey = 'quay.token'
/** What the last write returned. Sent with every request, so that every page shows one's own writes, whichever read model it comes from. */
let token = localStorage.getItem(storageKey)
/** Commands go out one after the other: each sends the token of the one before, so that the last token covers them all. */
let lastCommand = Promise.resolve()

/** Runs a command. Its idempotency key makes it safe to send again when the answer got lost. */
export function execute(name, input) {
  const run = async () => {
    const response = await send(`/commands/${name}`, {
      method: 'POST',
      headers: { 'Content-Type': 'application/json', 'Idempotency-Key': uuid() },
      body: JSON.stringify(input),
    })
    keepToken(response.headers.get('Headwater-Token'))
    return (await response.json()).result
  }
  const done = lastCommand.then(run, run)
  lastCommand = done.catch(() => {})
  return done
}

/** Asks once: what waits for a store says so and asks again by itself. */
export async function query(name, input = {}) {
  await lastCommand
  const response = await send(`/queries/${name}?input=${encodeURIComponent(JSON.stringify(input))}`, {}, 1)
  return await response.json()
}

export async function status() {
  const response = await fetch('/status')
  if (!response.ok) throw new Problem(await problemOf(response))
  return (await response.json()).readModels
}

async function send(path, request, tries = 4) {
  for (let attempt = 1; ; attempt++) {
    const response = await attemptOf(path, request)
    if (response?.ok) return response
    const problem = response ? await problemOf(response) : unreachable
    // The database was replaced: nothing that was written before can be waited for.
    if (['other_generation', 'ahead', 'malformed'].includes(problem.code) && token) keepToken(null)
    else if (!isPassing(problem) || attempt >= tries) throw new Problem(problem)
    else await pause(Number(response?.headers.get('Retry-After') ?? 0) * 1000 || attempt * 300)
  }
}

async function attemptOf(path, request) {
  try {
    return await fetch(path, { ...request, headers: { ...request.headers, ...(token ? { 'Headwater-Token': token } : {}) } })
  } catch {
    return undefined
  }
}

const unreachable = { code: 'unreachable', detail: 'The server does not answer. Is it running?' }
const isPassing = ({ code }) => ['unreachable', 'unavailable', 'busy', 'database_unavailable', 'outcome_unknown'].includes(code)

async function problemOf(response) {
  return await response
    .json()
    .catch(() => ({ code: 'unknown', status: response.status, detail: `The server answered ${response.status}.` }))
}

function keepToken(value) {
  token = value
  if (value) localStorage.setItem(storageKey, value)
  else localStorage.removeItem(storageKey)
}

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, Math.min(ms, 3000)))
