import type { RedisClient } from 'headwater/redis'
import { createClient } from 'redis'

/** A script on its way to the server. */
export interface ScriptCall {
  readonly keys: string[]
  readonly arguments: string[]
}

/** A client with something between it and its server. */
export interface MeddlingClient extends RedisClient {
  /** Scripts and reads until now. */
  calls: number
}

/** `before` runs before each script; what it throws is what the store sees of it. */
export async function meddlingClient(
  url: string,
  before: (calls: number, call: ScriptCall) => Promise<unknown> | unknown,
): Promise<MeddlingClient> {
  const client = createClient({ url })
  await client.connect()
  const meddler: MeddlingClient = {
    calls: 0,
    isOpen: true,
    connect: async () => {},
    close: () => client.close(),
    on: () => meddler,
    info: (section?: string) => client.info(section),
    eval: (script: string, call: ScriptCall) => client.eval(script, call),
    evalSha: async (sha: string, call: ScriptCall) => {
      meddler.calls++
      await before(meddler.calls, call)
      return client.evalSha(sha, call)
    },
    hmGet: async (key: string, fields: string[]) => {
      meddler.calls++
      return client.hmGet(key, fields)
    },
  }
  return meddler
}
