import { afterEach, describe, expect, test } from 'vitest'
import { balances } from '../support/balances.ts'
import { databases } from '../support/databases.ts'
import type { Ledger } from '../support/ledger.ts'
import { projectionSuite } from '../support/projection-suite.ts'
import { stores } from '../support/stores.ts'
import { waitUntil } from '../support/wait.ts'

const server = databases.find(({ name }) => name === 'postgres')

describe.each([...stores])('a build in $name', ({ skip, open }) => {
  if (!server) throw new Error('no server')
  let ledger: Ledger
  const { opened, started, stopped, handleOf } = projectionSuite(server, () => ledger)
  const closing: (() => Promise<unknown>)[] = []

  afterEach(async () => {
    for (const close of closing.splice(0)) await close()
  })

  test.skipIf(skip || server.skip)('what a first batch left that broke off is gone on from', async () => {
    ;({ ledger } = opened())
    const store = await open()
    closing.push(async () => store.close?.())
    const apply = store.apply.bind(store)
    let brokenOff = 0
    // All but its last row are written where a store takes more than one step for that many.
    store.apply = async (model, batch) => {
      const rows = batch.rows.map((row, i) => (i === batch.rows.length - 1 ? { ...row, was: 1_000_000 } : row))
      if (batch.from !== null || rows.length === 0) return apply(model, batch)
      brokenOff++
      return apply(model, { ...batch, rows })
    }
    const streams = Array.from({ length: 600 }, (_, i) => `s${i}`)
    await ledger.fill(streams.map((stream) => [stream, 'Opened', { owner: stream }]))
    const first = await started(balances({ store }))
    await waitUntil(() => brokenOff > 1)
    await stopped(first)
    store.apply = apply
    await ledger.fill(streams.map((stream) => [stream, 'Deposited', { amount: 1 }]))
    const second = await started(balances({ store }))
    await second.settle()
    expect((await handleOf(second).verify()).differences).toEqual([])
    for (const { model } of second.own) await store.drop(model)
  })
})
