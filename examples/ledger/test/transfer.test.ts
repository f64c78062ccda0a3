import { givenReaction } from 'headwater/testing'
import { describe, it } from 'vitest'
import { account } from '../src/account.ts'
import { moveMoney } from '../src/reactions.ts'
import { transfer } from '../src/transfer.ts'
import { completeTransfer, deliverTransfer, receiveTransfer, refundTransfer, returnTransfer, sendTransfer } from '../src/transfer-steps.ts'

const [from, to, transferId] = ['from', 'to', 'transfer']

describe('a transfer, step by step', () => {
  it('takes the money from the one account', () => {
    givenReaction(moveMoney, { ...transfer.events.TransferRequested({ from, to, amount: 5 }), stream: transferId }).then(
      sendTransfer({ accountId: from, transferId, to, amount: 5 }),
    )
  })

  it('and brings it to the other', () => {
    givenReaction(moveMoney, { ...account.events.TransferSent({ transferId, to, amount: 5, balance: 1 }), stream: from }).then(
      receiveTransfer({ accountId: to, transferId, from, amount: 5 }),
    )
    givenReaction(moveMoney, { ...account.events.TransferReceived({ transferId, from, amount: 5, balance: 6 }), stream: to }).then(
      deliverTransfer({ accountId: from, transferId }),
      completeTransfer({ transferId }),
    )
  })

  it('or ends it where nothing was taken', () => {
    givenReaction(moveMoney, { ...account.events.TransferNotSent({ transferId, reason: 'insufficient_funds' }), stream: from }).then(
      refundTransfer({ transferId }),
    )
  })

  it('or brings back what could not arrive', () => {
    givenReaction(moveMoney, { ...account.events.TransferNotReceived({ transferId, from, amount: 5 }), stream: to }).then(
      returnTransfer({ accountId: from, transferId, amount: 5 }),
    )
    givenReaction(moveMoney, { ...account.events.TransferReturned({ transferId, amount: 5, balance: 6 }), stream: from }).then(
      refundTransfer({ transferId }),
    )
  })

  it('does nothing for what concerns no transfer', () => {
    givenReaction(
      moveMoney,
      account.events.MoneyDeposited({ amount: 5, balance: 5 }),
      account.events.TransferDelivered({ transferId }),
    ).then()
  })
})
