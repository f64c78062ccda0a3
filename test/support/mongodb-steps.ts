import type { MongoClient } from 'mongodb'

/** One call that a store makes of a collection. */
export interface MongodbStep {
  readonly name: string
  readonly collection: string
  readonly args: readonly unknown[]
}

const stepping = new Set(['findOne', 'bulkWrite', 'updateOne', 'insertOne', 'deleteOne', 'deleteMany', 'countDocuments', 'drop'])

/** A client whose every look and write goes through `take`. */
export function stepped(client: MongoClient, take: (step: MongodbStep, go: () => Promise<unknown>) => Promise<unknown>): MongoClient {
  return over(client, (name, value) => {
    if (name !== 'db') return value
    return (...call: unknown[]) => over(value(...call), (inner, open) => (inner === 'collection' ? collection(open) : open))
  })

  function collection(open: Method): Method {
    return (called: unknown) =>
      over(open(called), (name, value) => {
        if (!stepping.has(name)) return value
        return (...args: unknown[]) =>
          take({ name, collection: String(called), args }, async () => value(...args)) as unknown as ReturnType<Method>
      })
  }
}

/** What the driver gives is whatever it is. */
type Method = (...args: unknown[]) => object

function over<T extends object>(target: T, replace: (name: string, value: Method) => unknown): T {
  return new Proxy(target, {
    get: (object, property) => {
      const value: unknown = Reflect.get(object, property)
      if (typeof value !== 'function') return value
      const bound: Method = value.bind(object)
      return typeof property === 'string' ? replace(property, bound) : bound
    },
  })
}

/** A client that stops before its step number `at`, from 0, until it is woken. `asleep` also ends when it never gets that far, with false. */
export function sleeping(client: MongoClient, at: number) {
  let steps = 0
  let wake = () => {}
  let fallAsleep = (_: boolean) => {}
  const asleep = new Promise<boolean>((resolve) => {
    fallAsleep = resolve
  })
  const woken = new Promise<void>((resolve) => {
    wake = resolve
  })
  const sleeper = stepped(client, async (_step, go) => {
    if (steps++ === at) {
      fallAsleep(true)
      await woken
    }
    return go()
  })
  return { client: sleeper, asleep, wake: () => wake(), never: () => fallAsleep(false) }
}

/** A client that breaks after its step number `at`, from 0, and then at each; `broke` says whether it got that far. */
export function breaking(client: MongoClient, at: number) {
  let steps = 0
  const broken = stepped(client, async (_step, go) => {
    const number = steps++
    const result = number > at ? undefined : await go()
    if (number >= at) throw Object.assign(new Error('the connection broke'), { name: 'MongoNetworkError' })
    return result
  })
  return { client: broken, broke: () => steps > at }
}

/** A client that makes each write one step with its condition, as a real server does; of all that share the turns. */
export function inTurns(client: MongoClient, turns: { last: Promise<unknown> }): MongoClient {
  return stepped(client, (_step, go) => {
    const turn = turns.last.then(go)
    turns.last = turn.catch(() => undefined)
    return turn
  })
}
