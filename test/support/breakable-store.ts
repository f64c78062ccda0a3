import type { Store } from 'headwater'
import { redis } from 'headwater/redis'
import { RedisServer } from './redis-server.ts'
import { TcpProxy } from './tcp-proxy.ts'

/** A server with something before it that a test can break. */
export interface Breakable {
  readonly proxy: TcpProxy
  /** Through the proxy. */
  open(): Store
  /** Past it. */
  direct(): Store
  /** Ends connections at the server, where that can be asked for. */
  hangUp?(): Promise<unknown>
  close(): Promise<void>
}

/** A server that is slow for another reason must not be taken for one that is silent. */
export const answerTimeoutMs = 800

/** A Redis server of the test's own, with `settings` as on its command line. */
export async function breakableRedis(...settings: readonly string[]): Promise<Breakable & { readonly server: RedisServer }> {
  const own = await RedisServer.start(...settings)
  const { hostname: host, port } = new URL(own.url)
  const proxy = await TcpProxy.open({ host, port: Number(port), raw: true })
  return {
    server: own,
    proxy,
    open: () => redis(`redis://127.0.0.1:${proxy.port}`, { answerTimeoutMs }),
    direct: () => redis(own.url),
    hangUp: () => own.control.sendCommand(['CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes']),
    close: async () => {
      await proxy.close()
      await own.stop()
    },
  }
}
