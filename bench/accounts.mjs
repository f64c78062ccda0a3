import { aggregate, projection } from 'headwater'
import { z } from 'zod'

/*
 * Accounts as events: what the benchmarks of the log write and fold, on every side. An event's data is about 200 bytes of JSON.
 */

export const note = 'for the quarter that ends in September, as it was agreed upon in the letter of the second of July, less what was paid'

export const account = aggregate('account', {
  events: {
    AccountOpened: z.object({ owner: z.string(), amount: z.int(), note: z.string() }),
    MoneyDeposited: z.object({ owner: z.string(), amount: z.int(), note: z.string() }),
  },
  initialState: () => ({ balance: 0, events: 0 }),
  evolve: { AccountOpened: evolved, MoneyDeposited: evolved },
})

/** The state of an account, and its row in a read model: the same fold on every side. */
export function evolved(
  /** @type {{ balance: number, events: number }} */ { balance, events },
  /** @type {{ amount: number }} */ { amount },
) {
  return { balance: balance + amount, events: events + 1 }
}

const input = z.object({ id: z.string(), amount: z.int() })
const stream = (/** @type {{ id: string }} */ { id }) => id

/** What the events say, for every side alike. @param {string} id @param {number} amount */
export const dataOf = (id, amount) => ({ owner: id, amount, note })

const open = account.command('open', {
  input,
  stream,
  decide: (_state, { id, amount }, { events }) => [events.AccountOpened(dataOf(id, amount))],
})
const deposit = account.command('deposit', {
  input,
  stream,
  decide: (_state, { id, amount }, { events }) => [events.MoneyDeposited(dataOf(id, amount))],
})
export const commands = { open, deposit }

/**
 * A row for each account. `foldMs`: how long the handler of an event keeps the process busy.
 * @param {string} name
 * @param {{ update?: 'sync' | 'async', version?: number, store?: unknown, foldMs?: number }} [options]
 */
export function balances(name, { foldMs = 0, ...options } = {}) {
  const fold = (/** @type {any} */ row, /** @type {any} */ { data }) => {
    const end = foldMs > 0 ? performance.now() + foldMs : 0
    while (performance.now() < end);
    return evolved(row ?? { balance: 0, events: 0 }, data)
  }
  return projection(name, {
    from: [account],
    row: z.object({ balance: z.int(), events: z.int() }),
    on: { AccountOpened: fold, MoneyDeposited: fold },
    ...options,
  })
}

/**
 * SQL for `count` events of `accounts` accounts in random order, the same for every side: n, id (a uuid), version, type, data.
 * @param {{ count: number, accounts: number }} size
 */
export function eventsSelect({ count, accounts }) {
  return `select n, md5('account' || a)::uuid as id, version, case version when 1 then 'AccountOpened' else 'MoneyDeposited' end as type,
      json_build_object('owner', md5('account' || a)::uuid, 'amount', 1 + n % 100, 'note', '${note}') as data
    from (
      select n, a, row_number() over (partition by a order by n)::int as version
      from (select n, case when n <= ${accounts} then n else 1 + abs(hashint4(n)::bigint) % ${accounts} end as a from generate_series(1, ${count}) n) picked) numbered
    order by n`
}

/**
 * Fills the log of an application that was started once, and runs no more.
 * @param {import('pg').Pool} pool
 * @param {string} schema
 * @param {{ count: number, accounts: number }} size
 */
export async function fillLog(pool, schema, size) {
  const client = await pool.connect()
  try {
    await client.query(`set work_mem = '256MB'`)
    await client.query(
      `insert into ${schema}.event (position, stream, version, id, type, schema_version, data, metadata, time)
       select n, 'account-' || id, version, gen_random_uuid(), type, 1, data, '{"command":"deposit"}', clock_timestamp() from (${eventsSelect(size)}) e`,
    )
    await client.query(`vacuum analyze ${schema}.event`)
  } finally {
    client.release(true)
  }
}
