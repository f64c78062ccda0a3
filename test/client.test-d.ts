import { type as ark } from 'arktype'
import { command, type Headwater, type Json, query, reject, type Schema } from 'headwater'
import { type Client, type ClientOptions, client } from 'headwater/client'
import { handler, type ServedApp } from 'headwater/http'
import * as v from 'valibot'
import { describe, expectTypeOf, test } from 'vitest'
import { z } from 'zod'

const countWords = command('countWords', {
  input: z.object({ text: z.string(), locale: z.string().default('en') }),
  execute: async ({ text }) => (text === '' ? reject('empty') : { words: text.split(' ').length, at: new Date() }),
})
const like = command('like', { input: v.object({ postId: v.string() }), execute: async () => {} })
const statement = query('statement', {
  input: z.object({ accountId: z.string(), limit: z.int().default(20) }),
  reads: {},
  execute: async ({ accountId }) => (accountId ? { accountId, at: new Date(), lines: [{ time: new Date(), amount: 1 }] } : null),
})
const names = query('names', { input: ark({ prefix: 'string' }), reads: {}, execute: async () => ['a'] })

type App = Headwater<{ countWords: typeof countWords; like: typeof like }, { statement: typeof statement; names: typeof names }>
declare const app: App
declare const api: Client<App>
declare const options: ClientOptions

describe('client', () => {
  test('is typed by the application', () => {
    expectTypeOf(client<typeof app>).returns.toEqualTypeOf<Client<App>>()
    expectTypeOf(client<typeof app>(options).token).toEqualTypeOf<string | undefined>()
  })

  test('knows the names, and no others', () => {
    expectTypeOf<Parameters<typeof api.execute>[0]>().toEqualTypeOf<'countWords' | 'like'>()
    expectTypeOf<Parameters<typeof api.query>[0]>().toEqualTypeOf<'statement' | 'names'>()
    expectTypeOf<'countWord'>().not.toExtend<Parameters<typeof api.execute>[0]>()
    expectTypeOf<'statement'>().not.toExtend<Parameters<typeof api.execute>[0]>()
  })

  test('takes the inputs: what has a default may be left out', () => {
    type CountWords = Parameters<typeof api.execute<'countWords'>>[1]
    expectTypeOf<CountWords>().toEqualTypeOf<{ text: string; locale?: string | undefined }>()
    expectTypeOf<{ txt: string }>().not.toExtend<CountWords>()
    expectTypeOf<Parameters<typeof api.execute<'like'>>[1]>().toEqualTypeOf<{ postId: string }>()
    expectTypeOf<Parameters<typeof api.query<'statement'>>[1]>().toEqualTypeOf<{ accountId: string; limit?: number | undefined }>()
    expectTypeOf<Parameters<typeof api.query<'names'>>[1]>().toEqualTypeOf<{ prefix: string }>()
  })

  test('gives the results as they are after JSON', async () => {
    const counted = await api.execute('countWords', { text: 'a b' }, { idempotencyKey: 'k', after: 't' })
    expectTypeOf(counted.result).toEqualTypeOf<{ words: number; at: string }>()
    expectTypeOf(counted.token).toEqualTypeOf<string>()
    expectTypeOf(counted.replayed).toEqualTypeOf<boolean>()
    expectTypeOf((await api.execute('like', { postId: 'p' })).result).toEqualTypeOf<void>()
    const stated = await api.query('statement', { accountId: 'a' }, { after: 't', waitMs: 100 })
    expectTypeOf(stated.result).toEqualTypeOf<{ accountId: string; at: string; lines: { time: string; amount: number }[] } | null>()
    expectTypeOf(stated.lagMs).toEqualTypeOf<number>()
    expectTypeOf((await api.query('names', { prefix: 'a' })).result).toEqualTypeOf<string[]>()
    expectTypeOf<Json<Date>>().toEqualTypeOf<string>()
  })

  test('sends through the platform, or through a handler', () => {
    expectTypeOf(fetch).toExtend<NonNullable<ClientOptions['fetch']>>()
    expectTypeOf(handler(app)).toExtend<NonNullable<ClientOptions['fetch']>>()
  })
})

describe('handler', () => {
  test('serves every application', () => {
    expectTypeOf<App>().toExtend<ServedApp>()
    expectTypeOf<Headwater>().toExtend<ServedApp>()
    expectTypeOf<Headwater<{ one: { commandName: 'one'; input: Schema<number>; '~result': string } }, object>>().toExtend<ServedApp>()
    expectTypeOf<{ execute(): void }>().not.toExtend<ServedApp>()
    expectTypeOf(handler(app)).toEqualTypeOf<(request: Request) => Promise<Response>>()
  })
})
