import { fork } from 'node:child_process'
import { fileURLToPath } from 'node:url'

/**
 * Starts a file of this folder as a process of its own, and waits until it is ready.
 * @param {import('./database.mjs').Workplace} place
 * @param {string} file
 * @param {readonly string[]} args
 * @param {readonly string[]} execArgv
 * @param {Readonly<Record<string, string>>} env
 */
export async function startChild(place, file, args, execArgv = process.execArgv, env = {}) {
  const child = fork(fileURLToPath(new URL(file, import.meta.url)), [...args], { execArgv: [...execArgv], env: { ...process.env, ...env } })
  place.onClose(async () => child.kill())
  /** @type {Set<(error: Error) => void>} */
  const waiting = new Set()
  child.on('exit', (code) => {
    for (const fail of waiting) fail(new Error(`${file} ended with ${code}`))
  })
  /** The next message of the process. @returns {Promise<any>} */
  const next = () =>
    new Promise((resolve, reject) => {
      waiting.add(reject)
      child.once('message', (message) => {
        waiting.delete(reject)
        resolve(message)
      })
    })
  await next()
  return {
    /** Sends a message and waits for the answer. @param {unknown} message */
    async ask(message) {
      const answer = next()
      child.send(/** @type {any} */ (message))
      return await answer
    },
    /** @param {NodeJS.Signals} [signal] */
    kill: (signal) => child.kill(signal),
  }
}
