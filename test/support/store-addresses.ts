import { connect } from 'node:net'

/** The Redis server that tests use. */
export const redisUrl = process.env.REDIS_URL ?? 'redis://127.0.0.1:6379'

/** The MongoDB server that tests use, or one that speaks like it. */
export const mongodbUrl = process.env.MONGODB_URL ?? 'mongodb://127.0.0.1:27017'

/** Why there is no Redis to test on, or false. */
export function redisMissing(): Promise<string | false> {
  return missing(redisUrl, 6379, 'Redis', 'REDIS_URL')
}

/** Why there is no MongoDB to test on, or false. */
export function mongodbMissing(): Promise<string | false> {
  return missing(mongodbUrl, 27017, 'MongoDB', 'MONGODB_URL')
}

async function missing(url: string, standard: number, kind: string, variable: string): Promise<string | false> {
  const [, host = '127.0.0.1', port = standard] = /^[a-z+]+:\/\/(?:[^@/]*@)?([^:/,]+)(?::(\d+))?/.exec(url) ?? []
  const reason = await refusal(host, Number(port))
  return reason === undefined ? false : `no ${kind} server at ${host}:${port} (${reason}); ${variable} names another`
}

function refusal(host: string, port: number): Promise<string | undefined> {
  return new Promise((resolve) => {
    const socket = connect({ host, port, timeout: 5000 })
    const end = (reason: string | undefined) => {
      socket.destroy()
      resolve(reason)
    }
    socket.once('connect', () => end(undefined))
    socket.once('timeout', () => end('no answer'))
    socket.once('error', (error) => end(error.message))
  })
}
