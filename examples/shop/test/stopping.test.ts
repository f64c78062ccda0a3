import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { type IncomingMessage, request } from 'node:http'
import { connect } from 'node:net'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { built, Client, type Product } from './client.ts'
import { type RunningExample, startExample } from './running-example.ts'
import { type Place, targets } from './targets.ts'

/** A command that the server has begun to take, and whose end it has yet to get. */
interface Begun {
  readonly productId: string
  end(): Promise<{ readonly status: number | undefined; readonly token: string }>
}

async function begin(url: string): Promise<Begun> {
  const productId = randomUUID()
  const body = JSON.stringify({ productId, name: 'Under way', category: 'Stopping', price: 100, stock: 1 })
  const sent = request(`${url}/commands/addProduct`, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json', 'Content-Length': Buffer.byteLength(body), Expect: '100-continue' },
  })
  sent.flushHeaders()
  await once(sent, 'continue')
  sent.write(body.slice(0, 10))
  return {
    productId,
    async end() {
      sent.end(body.slice(10))
      const [response] = (await once(sent, 'response')) as [IncomingMessage]
      response.resume()
      return { status: response.statusCode, token: String(response.headers['headwater-token']) }
    },
  }
}

/** Whether somebody takes connections there. */
function listens(url: string): Promise<boolean> {
  const { hostname, port } = new URL(url)
  return new Promise((resolve) => {
    const socket = connect(Number(port), hostname)
    const tell = (answer: boolean) => {
      socket.destroy()
      resolve(answer)
    }
    socket.once('connect', () => tell(true)).once('error', () => tell(false))
  })
}

describe.each(targets)('a shop that is told to stop, on $name', { timeout: 120_000 }, ({ skip, prepare }) => {
  let place: Place
  let example: RunningExample

  beforeAll(async () => {
    if (skip) return
    place = await prepare()
    example = await startExample(place.settings)
    await built(example.url)
  }, 120_000)
  afterAll(async () => {
    await example?.end()
    await place?.remove()
  })

  it.skipIf(skip)('answers what is under way, takes nothing more, and ends well', async () => {
    // It keeps its connection, on which nothing is asked.
    expect((await fetch(`${example.url}/health`)).status).toBe(200)
    const begun = await Promise.all(Array.from({ length: 40 }, () => begin(example.url)))
    const ended = example.end('SIGTERM')
    while (await listens(example.url));
    const answers = await Promise.all(begun.map((one) => one.end()))
    expect(answers.map(({ status }) => status)).toStrictEqual(begun.map(() => 200))
    expect(await ended).toBe(0)
    example = await startExample(place.settings)
    const read = (i: number) =>
      new Client(example.url, answers[i]?.token).read<Product | null>('product', { productId: begun[i]?.productId })
    const products = await Promise.all(begun.map((_one, i) => read(i)))
    expect(products.map((product) => product?.name)).toStrictEqual(begun.map(() => 'Under way'))
  })
})
