import { readFileSync } from 'node:fs'
import fc from 'fast-check'
import { BehindError, type Clock, DatabaseUnavailableError, InvalidInputError, NotReadyError, reject, TokenError } from 'headwater'
import { ClientError, type ClientOptions, client } from 'headwater/client'
import { handler, type ServedApp } from 'headwater/http'
import { describe, expect, test } from 'vitest'
import { decodeToken, encodeToken, mergeTokens, type Token } from '../src/message/token.ts'

interface App {
  readonly '~commands': Readonly<Record<string, { readonly input: never; readonly '~result': unknown }>>
  readonly '~queries': Readonly<Record<string, { readonly input: never; readonly '~result': unknown }>>
}

const none = {} as never
const generation = 'abc'
const nothing: Token = { generation, writes: [], upTo: undefined, position: 0 }

/** Counts its writes and makes real tokens of them. No database: what is tested is the client, and the handler between. */
function countingApp() {
  const asked: { name: string; input: unknown; options: { after?: string; idempotencyKey?: string; waitMs?: number } }[] = []
  let writes = 0
  const app: ServedApp = {
    async execute(name, input, options = {}) {
      asked.push({ name, input, options })
      const older = options.after === undefined ? nothing : decodeToken(options.after)
      writes++
      const token = mergeTokens(older, { ...nothing, writes: [{ xid: String(writes), fanOut: false }] })
      return { result: { write: writes }, token: encodeToken(token), replayed: options.idempotencyKey === 'again' }
    },
    async query(name, input, options = {}) {
      asked.push({ name, input, options })
      return { result: covered(options.after), lagMs: 7 }
    },
    status: async () => ({ readModels: [] }),
  }
  return { app, asked }
}

/** The writes that a token covers. */
function covered(after: string | undefined): readonly string[] {
  return after === undefined ? [] : decodeToken(after).writes.map(({ xid }) => xid)
}

function over(app: ServedApp, options: Partial<ClientOptions> = {}) {
  return client<App>({ url: 'http://headwater.test', fetch: handler(app, { log: () => {} }), ...options })
}

describe('asking', () => {
  test('a command gives its result, its token and whether it was replayed', async () => {
    const { app, asked } = countingApp()
    const api = over(app)
    expect(await api.execute('like', { postId: 'ü+&' } as never)).toEqual({
      result: { write: 1 },
      token: encodeToken({ ...nothing, writes: [{ xid: '1', fanOut: false }] }),
      replayed: false,
    })
    expect((await api.execute('like', none, { idempotencyKey: 'again' })).replayed).toBe(true)
    expect(asked.map(({ name, input }) => [name, input])).toEqual([
      ['like', { postId: 'ü+&' }],
      ['like', {}],
    ])
    expect(asked[1]?.options.idempotencyKey).toBe('again')
  })

  test('a query gives its result and its lag', async () => {
    const { app, asked } = countingApp()
    const input = { text: 'a+b &c=ü%"', limit: 3 }
    expect(await over(app).query('searchPosts', input as never, { waitMs: 500 })).toEqual({ result: [], lagMs: 7 })
    expect(asked).toEqual([{ name: 'searchPosts', input, options: { waitMs: 500 } }])
  })

  test('the address may have a path and a slash at its end', async () => {
    const { app } = countingApp()
    const fetch = handler(app, { basePath: '/api/v1' })
    expect((await over(app, { url: 'http://headwater.test/api/v1/', fetch }).query('timeline', none)).lagMs).toBe(7)
  })

  test('headers go with every request; a function is asked each time', async () => {
    const { app } = countingApp()
    const seen: (string | null)[] = []
    const fetch = (request: Request) => {
      seen.push(request.headers.get('authorization'))
      return handler(app)(request)
    }
    let turn = 0
    const api = over(app, { fetch, headers: async () => ({ authorization: `Bearer ${++turn}` }) })
    await api.execute('like', none)
    await api.query('timeline', none)
    await over(app, { fetch, headers: { authorization: 'fixed' } }).query('timeline', none)
    expect(seen).toEqual(['Bearer 1', 'Bearer 2', 'fixed'])
  })
})

describe('a session', () => {
  test('reads its own writes, and its last token covers them all', async () => {
    const { app } = countingApp()
    const api = over(app)
    expect(api.token).toBeUndefined()
    await api.execute('like', none)
    const { token } = await api.execute('like', none)
    expect(api.token).toBe(token)
    expect((await api.query('timeline', none)).result).toEqual(['1', '2'])
  })

  test('takes a token from elsewhere, beside its own', async () => {
    const { app } = countingApp()
    const { token: foreign } = await over(app).execute('like', none)
    const api = over(app)
    await api.execute('like', none)
    expect((await api.query('timeline', none, { after: foreign })).result).toEqual(['1', '2'])
    expect((await api.query('timeline', none)).result).toEqual(['2'])
    expect(covered((await api.execute('like', none, { after: foreign })).token)).toEqual(['1', '2', '3'])
    expect((await api.query('timeline', none)).result).toEqual(['1', '2', '3'])
  })

  test('can be carried to another client, and ended', async () => {
    const { app } = countingApp()
    const [here, there] = [over(app), over(app)]
    await here.execute('like', none)
    there.token = here.token
    expect((await there.query('timeline', none)).result).toEqual(['1'])
    there.token = undefined
    expect((await there.query('timeline', none)).result).toEqual([])
  })

  test('switched off keeps nothing, and still sends what it is given', async () => {
    const { app } = countingApp()
    const api = over(app, { session: false })
    const { token } = await api.execute('like', none)
    expect(api.token).toBeUndefined()
    expect((await api.query('timeline', none)).result).toEqual([])
    expect((await api.query('timeline', none, { after: token })).result).toEqual(['1'])
    api.token = token
    await api.execute('like', none)
    expect((await api.query('timeline', none)).result).toEqual(['1'])
  })

  test('covers every write that was answered, in whatever order the answers come; and its token stays short', async () => {
    await fc.assert(
      fc.asyncProperty(fc.scheduler(), fc.integer({ min: 1, max: 30 }), async (scheduler, count) => {
        const { app } = countingApp()
        let underWay = 0
        let most = 0
        const fetch = async (request: Request) => {
          most = Math.max(most, ++underWay)
          await scheduler.schedule(Promise.resolve(), 'request')
          const response = await handler(app)(request)
          await scheduler.schedule(Promise.resolve(), 'response')
          underWay--
          return response
        }
        const api = over(app, { fetch })
        const answered: string[] = []
        const commands = Array.from({ length: count }, async () => {
          const { result } = await api.execute('like', none)
          answered.push(String((result as { write: number }).write))
          expect(covered(api.token)).toEqual(expect.arrayContaining(answered))
          expect(api.token?.split(',').length).toBeLessThanOrEqual(8)
        })
        await scheduler.waitFor(Promise.all(commands))
        expect(most).toBe(Math.min(count, 8))
        expect(new Set(covered(api.token))).toEqual(new Set(Array.from({ length: count }, (_, i) => String(i + 1))))
      }),
      { numRuns: 100 },
    )
  })

  test('goes on after commands that failed', async () => {
    const { app } = countingApp()
    let fail = true
    const refusing: ServedApp = {
      ...app,
      execute: async (...call) => {
        if (fail) throw reject('no')
        return await app.execute(...call)
      },
    }
    const api = over(refusing)
    await Promise.allSettled(Array.from({ length: 20 }, () => api.execute('like', none)))
    fail = false
    await Promise.all(Array.from({ length: 20 }, () => api.execute('like', none)))
    expect(new Set(covered(api.token)).size).toBe(20)
  })

  test.each(['other_generation', 'ahead'] as const)('drops its token when it is %s, and says so once', async (code) => {
    const { app } = countingApp()
    const restored: ServedApp = {
      ...app,
      query: async (name, input, options) => {
        if (options?.after !== undefined) throw new TokenError(code, 'drop it and read afresh')
        return await app.query(name, input, options)
      },
    }
    const api = over(restored)
    const { token } = await api.execute('like', none)
    await expect(api.query('timeline', none, { after: 'x' })).rejects.toMatchObject({ code, status: 410 })
    expect(api.token).toBe(token)
    await expect(api.query('timeline', none)).rejects.toMatchObject({ code, status: 410 })
    expect(api.token).toBeUndefined()
    expect((await api.query('timeline', none)).result).toEqual([])
  })
})

describe('sending again', () => {
  const start = Date.parse('2026-01-01T00:00:00Z')

  /** A clock whose waits are over at once, and remembered. */
  function quickClock(): { readonly clock: Clock; readonly pauses: number[] } {
    const pauses: number[] = []
    return { pauses, clock: { now: () => start, sleep: async (ms) => void pauses.push(ms) } }
  }

  /** Fails with each of the errors in turn, then works. */
  function failing(errors: readonly unknown[], options: Partial<ClientOptions> = {}) {
    const { app } = countingApp()
    const left = [...errors]
    let calls = 0
    const trip = () => {
      calls++
      const error = left.shift()
      if (error !== undefined) throw error
    }
    const tripping: ServedApp = {
      ...app,
      execute: async (...call) => {
        trip()
        return await app.execute(...call)
      },
      query: async (...call) => {
        trip()
        return await app.query(...call)
      },
    }
    const { clock, pauses } = quickClock()
    return { api: over(tripping, { clock, ...options }), pauses, calls: () => calls }
  }

  const behind = () => new BehindError(['post_search'], 0, 1)
  const down = () => new DatabaseUnavailableError('down', 'connect')

  test('a query is, after the pause that the server asks for', async () => {
    const { api, pauses } = failing([behind(), down()])
    expect((await api.query('timeline', none)).lagMs).toBe(7)
    expect(pauses).toEqual([1000, 2000])
  })

  test('a command with an idempotency key is; one without never', async () => {
    const keyed = failing([down()])
    expect((await keyed.api.execute('like', none, { idempotencyKey: 'k' })).result).toEqual({ write: 1 })
    const bare = failing([down()])
    await expect(bare.api.execute('like', none)).rejects.toMatchObject({ code: 'database_unavailable', status: 503 })
    expect([keyed.calls(), bare.calls()]).toEqual([2, 1])
  })

  test('happens twice at most, or as often as is asked', async () => {
    const errors = [behind(), behind(), behind(), behind(), behind()]
    for (const [retries, calls] of [[undefined, 3] as const, [0, 1] as const, [4, 5] as const]) {
      const tried = failing(errors, retries === undefined ? {} : { retries })
      await expect(tried.api.query('timeline', none)).rejects.toMatchObject({ code: 'behind', have: 0, want: 1 })
      expect(tried.calls()).toBe(calls)
    }
  })

  test('does not happen when the server asks for a long pause', async () => {
    const { api, pauses, calls } = failing([new NotReadyError('building', 'post_search', 'its first build')])
    await expect(api.query('timeline', none)).rejects.toMatchObject({ code: 'building' })
    expect([pauses, calls()]).toEqual([[], 1])
  })

  test('does not happen after anything but a 503', async () => {
    for (const error of [reject('no'), new InvalidInputError('q', []), new Error('bug')]) {
      const { api, calls } = failing([error])
      await expect(api.query('timeline', none)).rejects.toBeInstanceOf(ClientError)
      expect(calls()).toBe(1)
    }
    let calls = 0
    const fetch = async (): Promise<Response> => {
      calls++
      throw new TypeError('fetch failed')
    }
    await expect(over(countingApp().app, { fetch }).query('timeline', none)).rejects.toMatchObject({ code: 'unreachable', status: 0 })
    expect(calls).toBe(1)
  })

  test.each([
    [undefined, 1000],
    ['0', 0],
    ['3', 3000],
    ['Thu, 01 Jan 2026 00:00:04 GMT', 4000],
    ['Wed, 31 Dec 2025 00:00:00 GMT', 0],
    ['6', undefined],
    ['soon', undefined],
  ])('Retry-After %s makes a pause of %s', async (retryAfter, pause) => {
    const { app } = countingApp()
    const { clock, pauses } = quickClock()
    let first = true
    const fetch = async (request: Request) => {
      if (!first) return await handler(app)(request)
      first = false
      return new Response('busy', { status: 503, headers: retryAfter === undefined ? {} : { 'Retry-After': retryAfter } })
    }
    const answer = over(app, { fetch, clock }).query('timeline', none)
    if (pause === undefined) await expect(answer).rejects.toMatchObject({ status: 503 })
    else expect((await answer).lagMs).toBe(7)
    expect(pauses).toEqual(pause === undefined ? [] : [pause])
  })

  test('is stopped by the signal', async () => {
    const stop = new AbortController()
    const clock: Clock = { now: () => start, sleep: async () => stop.abort(new Error('no longer wanted')) }
    const { api, calls } = failing([behind()], { clock })
    await expect(api.query('timeline', none, { signal: stop.signal })).rejects.toThrow('no longer wanted')
    expect(calls()).toBe(1)
  })
})

describe('errors', () => {
  const failWith = (error: unknown): ServedApp => {
    const fail = async () => {
      throw error
    }
    return { execute: fail, query: fail, status: fail }
  }

  test('have the members of the problem', async () => {
    const details = [{ productId: 'p', left: 0 }]
    const refused = over(failWith(reject('out_of_stock', details))).execute('order', none)
    await expect(refused).rejects.toBeInstanceOf(ClientError)
    await expect(refused).rejects.toMatchObject({ name: 'ClientError', code: 'out_of_stock', status: 422, details })
    const issues = [{ path: ['a', 0], message: 'too small' }]
    const invalid = over(failWith(new InvalidInputError('order', issues))).execute('order', none)
    await expect(invalid).rejects.toMatchObject({ code: 'invalid_input', errors: issues, message: expect.stringContaining('too small') })
  })

  test.each([
    ['a page', new Response('<h1>Bad gateway</h1>', { status: 502 }), 502],
    ['other JSON', new Response('{"message":"nope"}', { status: 404 }), 404],
    ['an empty answer', new Response(null, { status: 500 }), 500],
    ['a page that says all is well', new Response('<h1>Hello</h1>', { headers: { 'Headwater-Token': 't' } }), 200],
    ['JSON without the headers', new Response('{"result":1}'), 200],
  ])('%s is an unexpected answer', async (_what, response, status) => {
    const api = over(countingApp().app, { fetch: async () => response.clone() })
    await expect(api.execute('like', none)).rejects.toMatchObject({ code: 'unexpected_answer', status })
    await expect(api.query('timeline', none)).rejects.toMatchObject({ code: 'unexpected_answer', status })
  })

  test('no answer is "unreachable", with its cause', async () => {
    const cause = new TypeError('fetch failed')
    const fetch = async () => {
      throw cause
    }
    await expect(over(countingApp().app, { fetch }).execute('like', none)).rejects.toMatchObject({ code: 'unreachable', status: 0, cause })
  })

  test('what the caller stops ends with the reason of the caller', async () => {
    const stop = new AbortController()
    const fetch = (request: Request) =>
      new Promise<Response>((_, fail) => request.signal.addEventListener('abort', () => fail(request.signal.reason)))
    const answer = over(countingApp().app, { fetch }).query('timeline', none, { signal: stop.signal })
    // The request is on its way only after the headers were asked for.
    setImmediate(() => stop.abort(new Error('page closed')))
    await expect(answer).rejects.toThrow('page closed')
  })
})

test('it runs in browsers: nothing it imports is of Node', () => {
  const seen = new Set<string>()
  const follow = (path: string): void => {
    if (seen.has(path)) return
    seen.add(path)
    const text = readFileSync(new URL(path, import.meta.url), 'utf8')
    expect(text).not.toMatch(/\b(node:|process\.|Buffer\b|require\()/)
    for (const [, from = ''] of text.matchAll(/^(?:import|export) (?!type )[^;]*? from '([^']+)'/gms)) {
      expect(from).toMatch(/^\.\.?\//)
      follow(`./${new URL(from, new URL(path, 'file:///test/')).pathname.replace(/^\/test\//, '')}`.replace('.//', '../'))
    }
  }
  follow('../src/client/index.ts')
  expect([...seen].map((path) => path.replace(/^.*\/src\//, '')).sort()).toEqual([
    'client/client-error.ts',
    'client/client.ts',
    'client/index.ts',
    'client/sender.ts',
    'client/session.ts',
    'internal/clock.ts',
  ])
})
