import fc from 'fast-check'
import {
  BehindError,
  DatabaseError,
  DatabaseUnavailableError,
  DefinitionError,
  HeadwaterError,
  IdempotencyKeyReusedError,
  IncompatibleStoreError,
  InvalidInputError,
  NoIndexError,
  NotReadyError,
  OutcomeUnknownError,
  ParkedError,
  type ReadModelStatus,
  reject,
  TokenError,
  UnknownNameError,
  UsageError,
} from 'headwater'
import { type HandlerOptions, handler, type Problem, type ServedApp } from 'headwater/http'
import { describe, expect, test } from 'vitest'
import { decodeToken, encodeToken } from '../src/message/token.ts'

const origin = 'http://headwater.test'
const secret = 'postgres://admin:hunter2@db.internal/prod'

interface Call {
  readonly kind: 'execute' | 'query'
  readonly name: string
  readonly input: unknown
  readonly options: unknown
}

const aStatus: ReadModelStatus = {
  name: 'published_posts',
  mode: 'sync',
  state: 'live',
  version: 1,
  lagMs: 0,
  pending: 0,
  parked: 0,
  available: true,
  rows: 3,
  bytes: 8192,
  sources: [{ table: 'posts', rows: 3, bytes: 16384 }],
  build: undefined,
  builtInMs: 5,
  error: `select secret from ${secret}`,
  advice: ['create index on posts (author_id)'],
}

/** An application that does what the test says, and notes what it was asked. No database: what is tested is the translation. */
function appThat(behaviour: Partial<ServedApp> = {}): { readonly app: ServedApp; readonly calls: Call[] } {
  const calls: Call[] = []
  const app: ServedApp = {
    execute: async (name, input, options) => {
      calls.push({ kind: 'execute', name, input, options })
      return (await behaviour.execute?.(name, input, options)) ?? { result: undefined, token: 'dG9rZW4', replayed: false }
    },
    query: async (name, input, options) => {
      calls.push({ kind: 'query', name, input, options })
      return (await behaviour.query?.(name, input, options)) ?? { result: { name, input }, lagMs: 0 }
    },
    status: behaviour.status ?? (async () => ({ readModels: [aStatus] })),
  }
  return { app, calls }
}

type Logged = readonly [level: string, message: string, fields: unknown]

function serve(behaviour: Partial<ServedApp> = {}, options: HandlerOptions = {}) {
  const { app, calls } = appThat(behaviour)
  const logged: Logged[] = []
  const handle = handler(app, { log: (level, message, fields) => logged.push([level, message, fields]), ...options })
  const ask = (path: string, init: RequestInit = {}) => handle(new Request(`${origin}${path}`, init))
  const send = (body: BodyInit | null, headers: Record<string, string> = {}, path = '/commands/like') =>
    ask(path, { method: 'POST', body, headers: { 'Content-Type': 'application/json', ...headers } })
  return { ask, send, calls, logged, handle }
}

async function problemOf(response: Response): Promise<Problem> {
  expect(response.headers.get('content-type')).toBe('application/problem+json')
  expect(response.headers.get('cache-control')).toBe('private, no-store')
  const problem = (await response.json()) as Problem
  expect(problem.status).toBe(response.status)
  expect(problem.type).toBe(`urn:headwater:problem:${problem.code}`)
  expect(problem.title).not.toBe('')
  expect(problem.detail).not.toBe('')
  return problem
}

function throwing(error: unknown): Partial<ServedApp> {
  const fail = async () => {
    throw error
  }
  return { execute: fail, query: fail, status: fail }
}

describe('a command', () => {
  test('answers its result and its token', async () => {
    const { send, calls } = serve({ execute: async () => ({ result: { words: 2 }, token: 'abc', replayed: false }) })
    const response = await send('{"postId":"p"}')
    expect(response.status).toBe(200)
    expect(response.headers.get('content-type')).toBe('application/json')
    expect(response.headers.get('headwater-token')).toBe('abc')
    expect(response.headers.get('cache-control')).toBe('private, no-store')
    expect(response.headers.has('idempotency-replayed')).toBe(false)
    expect(await response.json()).toEqual({ result: { words: 2 } })
    expect(calls).toEqual([{ kind: 'execute', name: 'like', input: { postId: 'p' }, options: {} }])
  })

  test('without a result answers null', async () => {
    expect(await (await serve().send('{}')).text()).toBe('{"result":null}')
  })

  test('is given the idempotency key and the token; a replay says so', async () => {
    const { send, calls } = serve({ execute: async () => ({ result: 1, token: 't2', replayed: true }) })
    const response = await send('{}', { 'Idempotency-Key': 'k', 'Headwater-Token': 't1' })
    expect(response.headers.get('idempotency-replayed')).toBe('true')
    expect(calls[0]?.options).toEqual({ idempotencyKey: 'k', after: 't1' })
  })

  test('is named in the path, percent-encoded or not', async () => {
    const { send, calls } = serve()
    await send('{}', {}, '/commands/publish%50ost')
    expect(calls[0]?.name).toBe('publishPost')
  })

  test.each(['application/json', 'application/json; charset=utf-8', 'Application/JSON;charset="UTF-8"'])('takes %s', async (type) => {
    expect((await serve().send('{}', { 'Content-Type': type })).status).toBe(200)
  })

  test.each(['text/plain', 'application/x-www-form-urlencoded', 'application/jsonp', 'application/json-patch+json'])(
    'refuses %s with 415',
    async (type) => {
      const { send, calls } = serve()
      const response = await send('{}', { 'Content-Type': type })
      expect(response.status).toBe(415)
      expect((await problemOf(response)).code).toBe('unsupported_media_type')
      expect(calls).toEqual([])
    },
  )

  test('refuses a body without a type, and an encoded one, with 415', async () => {
    const { ask, send } = serve()
    expect((await ask('/commands/like', { method: 'POST', body: new TextEncoder().encode('{}') })).status).toBe(415)
    expect((await send('{}', { 'Content-Encoding': 'gzip' })).status).toBe(415)
  })

  test.each([
    ['nothing', null],
    ['no JSON', '{"a":'],
    ['an array', '[]'],
    ['null', 'null'],
    ['a string', '"a"'],
    ['no UTF-8', new Uint8Array([0x7b, 0x22, 0xff, 0x22, 0x3a, 0x31, 0x7d])],
    ['half a character at the end', new Uint8Array([0x7b, 0x7d, 0xc3])],
    ['nesting without end', '['.repeat(500_000)],
  ])('refuses a body that is %s with 400', async (_what, body) => {
    const { send, calls } = serve()
    const response = await send(body)
    expect(response.status).toBe(400)
    expect((await problemOf(response)).code).toBe('malformed')
    expect(calls).toEqual([])
  })

  test('reads a character that is cut in two by the chunks', async () => {
    const { handle, calls } = serve()
    const bytes = new TextEncoder().encode('{"body":"né€𝄞"}')
    const body = new ReadableStream({
      start(controller) {
        for (const byte of bytes) controller.enqueue(new Uint8Array([byte]))
        controller.close()
      },
    })
    await handle(streamed(body))
    expect(calls[0]?.input).toEqual({ body: 'né€𝄞' })
  })

  test('refuses a body that breaks off with 400', async () => {
    const { handle, logged } = serve()
    const body = new ReadableStream({
      start(controller) {
        controller.enqueue(new TextEncoder().encode('{"a":'))
        controller.error(new Error('gone'))
      },
    })
    const response = await handle(streamed(body))
    expect((await problemOf(response)).code).toBe('malformed')
    expect(logged).toEqual([])
  })

  test.each([
    ['', 'empty'],
    ['k'.repeat(257), 'too long'],
  ])('refuses an idempotency key that is %#: %s', async (key) => {
    expect((await problemOf(await serve().send('{}', { 'Idempotency-Key': key }))).code).toBe('malformed')
  })
})

function streamed(body: ReadableStream): Request {
  const init: RequestInit & { duplex: 'half' } = {
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
    body,
    duplex: 'half',
  }
  return new Request(`${origin}/commands/like`, init)
}

describe('the size of a body', () => {
  const ofSize = (bytes: number) => `{"a":"${'x'.repeat(bytes - 8)}"}`

  test('may be 1 MiB and no more', async () => {
    const { send, calls } = serve()
    expect((await send(ofSize(1024 * 1024))).status).toBe(200)
    const response = await send(ofSize(1024 * 1024 + 1))
    expect(response.status).toBe(413)
    expect((await problemOf(response)).code).toBe('too_large')
    expect(calls).toHaveLength(1)
  })

  test('is counted in bytes', async () => {
    const { send } = serve({}, { maxBodyBytes: 12 })
    expect((await send('{"a":"xxxx"}')).status).toBe(200)
    expect((await send('{"a":"é€€"}')).status).toBe(413)
  })

  test('is believed of Content-Length, before anything is read', async () => {
    const { send } = serve({}, { maxBodyBytes: 10 })
    expect((await send('{}', { 'Content-Length': '11' })).status).toBe(413)
  })

  test('is bounded while it arrives, and the rest is not read', async () => {
    const { handle, calls } = serve({}, { maxBodyBytes: 1000 })
    let given = 0
    let cancelled = false
    const endless = new ReadableStream(
      {
        pull(controller) {
          given += 100
          controller.enqueue(new Uint8Array(100).fill(0x20))
        },
        cancel() {
          cancelled = true
          return new Promise(() => {})
        },
      },
      { highWaterMark: 0 },
    )
    const response = await handle(streamed(endless))
    expect(response.status).toBe(413)
    expect(cancelled).toBe(true)
    expect(given).toBe(1100)
    expect(calls).toEqual([])
  })
})

describe('a query', () => {
  const inputOf = (input: unknown) => `?input=${encodeURIComponent(JSON.stringify(input))}`

  test('answers the result itself, and its lag in whole milliseconds', async () => {
    const { ask, calls } = serve({ query: async () => ({ result: { items: [], next: null }, lagMs: 12.2 }) })
    const response = await ask(`/queries/timeline${inputOf({ limit: 5, text: 'a+b &c=ü' })}`)
    expect(response.status).toBe(200)
    expect(response.headers.get('content-type')).toBe('application/json')
    expect(response.headers.get('headwater-lag-ms')).toBe('13')
    expect(response.headers.get('cache-control')).toBe('private, no-store')
    expect(await response.json()).toEqual({ items: [], next: null })
    expect(calls).toEqual([{ kind: 'query', name: 'timeline', input: { limit: 5, text: 'a+b &c=ü' }, options: {} }])
  })

  test('of nothing answers null', async () => {
    expect(await (await serve({ query: async () => ({ result: undefined, lagMs: 0 }) }).ask('/queries/profile')).text()).toBe('null')
  })

  test.each(['', '?', '?other=1', '?inputs=3'])('without an input is asked with {}: %s', async (search) => {
    const { ask, calls } = serve()
    await ask(`/queries/timeline${search}`)
    expect(calls[0]?.input).toEqual({})
  })

  test('may write a space as +', async () => {
    const { ask, calls } = serve()
    await ask('/queries/searchPosts?input={"text":"a+b"}')
    expect(calls[0]?.input).toEqual({ text: 'a b' })
  })

  test.each([
    '?input=',
    '?input',
    '?input={',
    '?input=3',
    '?input=[]',
    '?input=null',
    '?input={"a":"%FF"}',
    '?input={}&input={}',
    '?input=%',
  ])('refuses %s with 400', async (search) => {
    const { ask, calls } = serve()
    const response = await ask(`/queries/timeline${search}`)
    expect(response.status).toBe(400)
    expect((await problemOf(response)).code).toBe('malformed')
    expect(calls).toEqual([])
  })

  test('is given the token and the wait, which is cut to 30 seconds', async () => {
    const { ask, calls } = serve()
    await ask('/queries/timeline', { headers: { 'Headwater-Token': 't', 'Headwater-Wait-Ms': '0' } })
    await ask('/queries/timeline', { headers: { 'Headwater-Wait-Ms': '60000' } })
    expect(calls.map(({ options }) => options)).toEqual([{ after: 't', waitMs: 0 }, { waitMs: 30_000 }])
  })

  test.each(['', '-1', '1.5', '1e3', 'soon', '9'.repeat(16)])('refuses to wait %j', async (wait) => {
    const response = await serve().ask('/queries/timeline', { headers: { 'Headwater-Wait-Ms': wait } })
    expect((await problemOf(response)).code).toBe('malformed')
  })
})

describe('addresses and methods', () => {
  test('GET /health says ok, and asks nobody', async () => {
    const { ask } = serve(throwing(new Error('down')), { context: () => new Response(null, { status: 401 }) })
    const response = await ask('/health')
    expect(response.status).toBe(200)
    expect(await response.json()).toEqual({ status: 'ok' })
  })

  test('GET /status says how the read models are, without SQL', async () => {
    const response = await serve().ask('/status')
    expect(response.status).toBe(200)
    const text = await response.text()
    expect(JSON.parse(text)).toEqual({
      readModels: [
        {
          name: 'published_posts',
          mode: 'sync',
          state: 'live',
          lagMs: 0,
          pending: 0,
          parked: 0,
          available: true,
          rows: 3,
          bytes: 8192,
          sources: [{ table: 'posts', rows: 3, bytes: 16384 }],
          trouble: { code: 'held_up', detail: expect.any(String) },
        },
      ],
    })
    expect(text).not.toContain('hunter2')
  })

  test('GET /status says in general what is wrong with a read model, and nothing where nothing is', async () => {
    const { error: _none, ...well } = aStatus
    const down = { ...aStatus, available: false, error: 'cannot connect to mongodb://10.0.0.7:27017' }
    const { ask } = serve({ status: async () => ({ readModels: [{ ...well, error: undefined }, down, { ...down, state: 'stopped' }] }) })
    const text = await (await ask('/status')).text()
    const { readModels } = JSON.parse(text) as { readModels: { available: boolean; trouble?: { code: string } }[] }
    expect(readModels.map(({ available, trouble }) => [available, trouble?.code])).toEqual([
      [true, undefined],
      [false, 'store_unavailable'],
      [false, 'stopped'],
    ])
    expect(text).not.toContain('10.0.0.7')
  })

  test.each([
    ['GET', '/commands/like', 'POST'],
    ['DELETE', '/commands/like', 'POST'],
    ['POST', '/queries/timeline', 'GET, HEAD'],
    ['OPTIONS', '/queries/timeline', 'GET, HEAD'],
    ['PUT', '/health', 'GET, HEAD'],
    ['POST', '/status', 'GET, HEAD'],
  ])('%s %s is 405, with Allow', async (method, path, allow) => {
    const { ask, calls } = serve()
    const response = await ask(path, { method })
    expect(response.status).toBe(405)
    expect(response.headers.get('allow')).toBe(allow)
    expect((await problemOf(response)).code).toBe('method_not_allowed')
    expect(calls).toEqual([])
  })

  test.each(['/', '/commands', '/commands/', '/commands/a/b', '/commands/%zz', '/queries', '/Health', '/health/', '/statuses', '//health'])(
    '%s is 404',
    async (path) => {
      const response = await serve().ask(path, { method: 'POST' })
      expect(response.status).toBe(404)
      expect((await problemOf(response)).code).toBe('not_found')
    },
  )

  test.each(['/health', '/status', '/queries/timeline'])('HEAD %s has the head of GET and no body', async (path) => {
    const { ask } = serve()
    const [get, head] = [await ask(path), await ask(path, { method: 'HEAD' })]
    expect(head.status).toBe(200)
    expect([...head.headers]).toEqual([...get.headers])
    expect(await head.text()).toBe('')
  })

  test.each(['/api', '/api/'])('lie under basePath %s', async (basePath) => {
    const { ask } = serve({}, { basePath })
    expect((await ask('/api/health')).status).toBe(200)
    expect((await ask('/health')).status).toBe(404)
    expect((await ask('/apihealth')).status).toBe(404)
    expect((await ask('/apis/health')).status).toBe(404)
    expect((await ask('/web/health')).status).toBe(404)
  })

  test('a basePath that is none is refused', () => {
    expect(() => handler(appThat().app, { basePath: 'api' })).toThrow(UsageError)
  })

  test('readOnly takes queries and no commands', async () => {
    const { ask, send, calls } = serve({}, { readOnly: true })
    const response = await send('{}')
    expect(response.status).toBe(403)
    expect((await problemOf(response)).code).toBe('read_only')
    expect((await ask('/queries/timeline')).status).toBe(200)
    expect(calls.map(({ kind }) => kind)).toEqual(['query'])
  })
})

describe('who is asking', () => {
  test('goes to commands and queries', async () => {
    const context = async (request: Request) => ({ actor: request.headers.get('x-user') ?? 'nobody' })
    const { ask, send, calls } = serve({}, { context })
    await send('{}', { 'X-User': 'ada' })
    await ask('/queries/timeline', { headers: { 'X-User': 'bob' } })
    expect(calls.map(({ options }) => options)).toEqual([{ context: { actor: 'ada' } }, { context: { actor: 'bob' } }])
  })

  test('may be refused, for commands, queries and the status', async () => {
    const { ask, send, calls } = serve({}, { context: () => new Response('who are you?', { status: 401 }) })
    for (const response of [await send('not even JSON'), await ask('/queries/timeline'), await ask('/status')]) {
      expect(response.status).toBe(401)
      expect(await response.text()).toBe('who are you?')
    }
    expect(calls).toEqual([])
  })

  test('that cannot be told is an internal error', async () => {
    const { ask, logged } = serve(
      {},
      {
        context: () => {
          throw new Error(secret)
        },
      },
    )
    const response = await ask('/queries/timeline')
    expect(response.status).toBe(500)
    expect(await response.text()).not.toContain('hunter2')
    expect(logged).toHaveLength(1)
  })
})

describe('the version that a command is meant for', () => {
  test('goes to the command', async () => {
    const { send, calls } = serve()
    await send('{}', { 'If-Match': '"7"' })
    expect(calls.map(({ options }) => options)).toEqual([{ ifVersion: 7 }])
  })

  test.each(['7', 'W/"7"', '*', '"seven"', '"1", "2"'])('%s is malformed', async (header) => {
    const { send, calls } = serve()
    expect((await problemOf(await send('{}', { 'If-Match': header }))).code).toBe('malformed')
    expect(calls).toEqual([])
  })
})

describe('errors', () => {
  const cases: readonly (readonly [error: HeadwaterError, status: number, retryAfter: string | null])[] = [
    [new TokenError('malformed', 'the token does not parse'), 400, null],
    [new UnknownNameError('command', 'like', ['theSecretOne']), 404, null],
    [new UnknownNameError('query', 'like', ['theSecretOne']), 404, null],
    [new HeadwaterError('version_conflict', secret), 409, null],
    [new TokenError('other_generation', 'drop it and read afresh'), 410, null],
    [new TokenError('ahead', 'never seen'), 410, null],
    [new InvalidInputError('like', [{ path: ['postId'], message: 'not a UUID' }]), 422, null],
    [new IdempotencyKeyReusedError('like', 'k'), 422, null],
    [new BehindError(['post_search'], 1, 3), 503, '1'],
    [new NotReadyError('building', 'post_search', secret), 503, '10'],
    [new NotReadyError('stopped', 'post_search', secret), 503, '60'],
    [new ParkedError('post_search', 'p', secret), 503, '60'],
    [new DatabaseUnavailableError(secret, 'connect'), 503, '2'],
    [new OutcomeUnknownError('like', { cause: new Error(secret) }), 503, '1'],
  ]

  test.each(cases.map(([error, status, retryAfter]) => [error.code, status, retryAfter, error] as const))(
    '%s is %i, Retry-After %s',
    async (code, status, retryAfter, error) => {
      const { ask, send } = serve(throwing(error))
      for (const response of [await send('{}'), await ask('/queries/q'), await ask('/status')]) {
        expect(response.status).toBe(status)
        expect(response.headers.get('retry-after')).toBe(retryAfter)
        const text = await response.clone().text()
        expect((await problemOf(response)).code).toBe(code)
        expect(text).not.toMatch(/hunter2|theSecretOne|\.test\.ts|stack/)
      }
    },
  )

  test.each(['55P03', '40001', '40P01'])('SQLSTATE %s, others in the way at every try, is 503 busy', async (sqlState) => {
    const response = await serve(throwing(new DatabaseError(sqlState, secret))).send('{}')
    expect(response.status).toBe(503)
    expect(response.headers.get('retry-after')).toBe('1')
    expect((await problemOf(response)).code).toBe('busy')
  })

  test('invalid input lists every issue with its path', async () => {
    const issues = [
      { path: ['lines', 0, 'quantity'], message: 'too small' },
      { path: [], message: 'unknown member' },
    ]
    const problem = await problemOf(await serve(throwing(new InvalidInputError('order', issues))).send('{}'))
    expect(problem.errors).toEqual(issues)
    expect(Object.keys(problem).sort()).toEqual(['code', 'detail', 'errors', 'status', 'title', 'type'])
  })

  test('behind says how far it is and how far it should be', async () => {
    const problem = await problemOf(await serve(throwing(new BehindError(['post_search'], 1, 3))).ask('/queries/q'))
    expect(problem).toMatchObject({ code: 'behind', have: 1, want: 3 })
  })

  test('a refusal has its own code, its details, and 422', async () => {
    const response = await serve(throwing(reject('out_of_stock', [{ productId: 'p', wanted: 2, left: 1 }]))).send('{}')
    expect(response.status).toBe(422)
    expect(await response.json()).toEqual({
      type: 'urn:headwater:refused:out_of_stock',
      title: 'Refused',
      status: 422,
      detail: 'The application refused this: out_of_stock.',
      code: 'out_of_stock',
      details: [{ productId: 'p', wanted: 2, left: 1 }],
    })
  })

  test.each(['behind', 'internal', 'malformed', 'constructor', 'a b/ü', '\ud800'])('a refusal may have the code %j', async (code) => {
    const response = await serve(throwing(reject(code))).send('{}')
    expect(response.status).toBe(422)
    expect(response.headers.has('retry-after')).toBe(false)
    const problem = (await response.json()) as Problem
    expect(problem.code).toBe(code)
    expect(problem.type).toBe(`urn:headwater:refused:${encodeURIComponent(code.toWellFormed())}`)
    expect('details' in problem).toBe(false)
  })

  test('errors of another copy of the library are known by their brand', async () => {
    const brand = { [Symbol.for('headwater.error')]: true }
    const behind = Object.assign(new Error('behind'), brand, { code: 'behind', have: 0, want: 1 })
    expect(await problemOf(await serve(throwing(behind)).ask('/queries/q'))).toMatchObject({ status: 503, have: 0, want: 1 })
    const refusal = Object.assign(new Error('refused'), brand, { name: 'Rejection', code: 'behind', details: 7 })
    expect(await (await serve(throwing(refusal)).send('{}')).json()).toMatchObject({ status: 422, code: 'behind', details: 7 })
  })

  test.each([
    ['an error of the application', new Error(secret)],
    ['a database error', new DatabaseError('42703', secret)],
    ['a query without an index', new NoIndexError('posts', secret, [])],
    ['a usage error', new UsageError(secret)],
    ['a definition error', new DefinitionError(secret)],
    ['another version', new IncompatibleStoreError('other_version', secret)],
    ['an unknown read model', new UnknownNameError('read_model', secret, [])],
    ['a code from Object.prototype', new HeadwaterError('constructor', secret)],
    ['a string', secret],
    ['nothing', undefined],
  ])('%s is 500, told to the log alone', async (_what, error) => {
    const { send, logged } = serve(throwing(error))
    const response = await send('{}')
    expect(response.status).toBe(500)
    const text = await response.clone().text()
    expect(await problemOf(response)).toMatchObject({ code: 'internal' })
    expect(text).not.toMatch(/hunter2|\.test\.ts/)
    expect(logged).toEqual([['error', 'http: POST /commands/like failed', { error: expect.any(String) }]])
    if (error !== undefined) expect(JSON.stringify(logged)).toContain('hunter2')
  })

  test('the log gets what lay beneath, and no input', async () => {
    const ring = new Error('above', { cause: new Error('beneath') })
    ;(ring.cause as Error).cause = ring
    const { ask, logged } = serve(throwing(ring))
    await ask('/queries/q?input={"password":"p4ss"}')
    expect(JSON.stringify(logged)).toContain('caused by: Error: beneath')
    expect(JSON.stringify(logged)).not.toContain('p4ss')
  })

  test('a database that is down is a warning; what callers do wrong is not logged', async () => {
    const down = serve(throwing(new DatabaseUnavailableError(secret, 'statement')))
    await down.ask('/queries/q')
    expect(down.logged.map(([level]) => level)).toEqual(['warn'])
    // Everybody who asks meets the same: that is said once a minute, not each time.
    for (let time = 0; time < 3; time++) await down.ask('/queries/timeline')
    expect(down.logged.filter(([level]) => level === 'warn')).toHaveLength(1)
    const { ask, send, logged } = serve(throwing(reject('no')))
    await send('{')
    await send('{}')
    await ask('/nowhere')
    expect(logged).toEqual([])
  })

  test('a result or details that are not JSON, and a log that throws, still end in an answer', async () => {
    const ring: Record<string, unknown> = {}
    ring.self = ring
    const options: HandlerOptions = {
      log: () => {
        throw new Error('disk full')
      },
    }
    const { ask, send } = serve({ ...throwing(reject('no', ring)), query: async () => ({ result: 1n, lagMs: 0 }) }, options)
    expect((await problemOf(await send('{}'))).code).toBe('internal')
    expect((await problemOf(await ask('/queries/q'))).code).toBe('internal')
  })
})

describe('whatever is sent', () => {
  /** Checks like the real application, but writes nothing. */
  const strict: ServedApp = {
    execute: async (name, _input, options) => {
      if (name !== 'like') throw new UnknownNameError('command', name, ['like'])
      if (options?.after !== undefined) decodeToken(options.after)
      return { result: null, token: 't', replayed: false }
    },
    query: async (name, input, options) => {
      if (name !== 'timeline') throw new UnknownNameError('query', name, ['timeline'])
      if (options?.after !== undefined) decodeToken(options.after)
      return { result: input, lagMs: 1 }
    },
    status: async () => ({ readModels: [aStatus] }),
  }

  const headerValue = fc.oneof(
    fc.string({ unit: 'binary-ascii' }),
    fc.string({ unit: 'grapheme' }),
    fc.constantFrom('', '0', '-1', '1e9', 'a,b'),
  )
  const headers = fc.dictionary(
    fc.constantFrom(
      'content-type',
      'content-length',
      'content-encoding',
      'headwater-token',
      'headwater-wait-ms',
      'idempotency-key',
      'x-other',
    ),
    fc.oneof({ arbitrary: headerValue, weight: 1 }, { arbitrary: fc.constant('application/json'), weight: 2 }),
  )
  const path = fc.oneof(
    fc.webUrl({ withQueryParameters: true }).map((url) => new URL(url).pathname + new URL(url).search),
    fc.constantFrom('/commands/like', '/queries/timeline', '/health', '/status', '/commands/__proto__', '/queries/constructor'),
    fc.string({ unit: 'grapheme' }).map((text) => `/commands/${text}`),
    fc.string({ unit: 'binary' }).map((text) => `/queries/timeline?input=${text}`),
    fc.json().map((text) => `/queries/timeline?input=${encodeURIComponent(text)}`),
  )
  const body = fc.oneof(
    fc.json(),
    fc.object().map((value) => JSON.stringify(value)),
    fc.string({ unit: 'grapheme' }),
    fc.uint8Array({ maxLength: 300 }),
    fc.constant(undefined),
  )

  test('the answer is no 500, and every error is a problem without a stack', async () => {
    const seen = new Set<number>()
    await fc.assert(
      fc.asyncProperty(
        path,
        fc.constantFrom('GET', 'POST', 'HEAD', 'PUT', 'DELETE', 'OPTIONS'),
        headers,
        body,
        async (path, method, headers, body) => {
          const { request, valid } = tryRequest(path, method, headers, body)
          fc.pre(valid)
          const logged: unknown[] = []
          const response = await handler(strict, { maxBodyBytes: 200, log: (...entry) => logged.push(entry) })(request)
          seen.add(response.status)
          expect(logged).toEqual([])
          expect(response.status).toBeLessThan(500)
          if (response.status === 200) return
          expect(response.headers.get('content-type')).toBe('application/problem+json')
          const text = await response.text()
          expect(text).not.toMatch(/\n\s+at |node_modules|\.ts:\d/)
          if (method !== 'HEAD') expect(JSON.parse(text)).toMatchObject({ status: response.status, code: expect.any(String) })
        },
      ),
      { numRuns: 1500 },
    )
    expect([...seen]).toEqual(expect.arrayContaining([200, 400, 404, 405, 415]))
  })

  function tryRequest(path: string, method: string, headers: Record<string, string>, body: BodyInit | Uint8Array | undefined) {
    try {
      const sent = method === 'GET' || method === 'HEAD' || body === undefined ? {} : { body: body as BodyInit }
      return { request: new Request(`${origin}${path}`, { method, headers, ...sent }), valid: true }
    } catch {
      // What no client can send.
      return { request: new Request(origin), valid: false }
    }
  }
})

describe('tokens', () => {
  const generation = 'abc123'
  const token = (...xids: string[]) =>
    encodeToken({ generation, writes: xids.map((xid) => ({ xid, fanOut: false })), upTo: undefined, position: 0 })

  test('with commas between them are one token that covers them all', () => {
    expect(decodeToken(`${token('5')}, ${token('7', '9')},${token('5', '8')}`)).toEqual(decodeToken(token('5', '7', '8', '9')))
  })

  test('of different generations do not go together', () => {
    const other = encodeToken({ generation: 'def', writes: [], upTo: undefined, position: 0 })
    expect(() => decodeToken(`${token('5')},${other}`)).toThrow(expect.objectContaining({ code: 'other_generation' }))
  })

  test.each([
    ['', 'nothing'],
    [',', 'two of nothing'],
    [`${Buffer.from('1.a.1,,2.').toString('base64url')}`, 'an empty write'],
    [`${Buffer.from('1.a.zzzzzzzzzzzzz.').toString('base64url')}`, 'an id beyond 64 bits'],
    [`${Buffer.from(`1.a.${'a'.repeat(2000)}?`).toString('base64url')}`, 'one that would make a careless pattern try for ever'],
  ])('%# that do not parse are malformed: %s', (text) => {
    expect(() => decodeToken(text)).toThrow(expect.objectContaining({ code: 'malformed' }))
  })
})
