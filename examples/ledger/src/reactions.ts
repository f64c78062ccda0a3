import { reaction } from 'headwater'
import { account } from './account.ts'
import { transfer } from './transfer.ts'
import { completeTransfer, deliverTransfer, receiveTransfer, refundTransfer, returnTransfer, sendTransfer } from './transfer-steps.ts'

/**
 * What makes a transfer happen whole, or not at all:
 *
 *     TransferRequested -> sendTransfer -> TransferSent -> receiveTransfer -> TransferReceived -> deliverTransfer, completeTransfer
 *                                       |                                  \-> TransferNotReceived -> returnTransfer -> TransferReturned -> refundTransfer
 *                                       \-> TransferNotSent -> refundTransfer
 *
 * Each step is one command on one stream, taken once, whatever process dies when. The key is the transfer, so that transfers do not wait for each other.
 */
export const moveMoney = reaction('move_money', {
  from: [account, transfer],
  key: (event) => ('transferId' in event.data ? event.data.transferId : event.stream),
  on: {
    TransferRequested: ({ stream, data: { from, to, amount } }) => sendTransfer({ accountId: from, transferId: stream, to, amount }),
    TransferSent: ({ stream, data: { transferId, to, amount } }) => receiveTransfer({ accountId: to, transferId, from: stream, amount }),
    TransferNotSent: ({ data: { transferId } }) => refundTransfer({ transferId }),
    TransferReceived: ({ data: { transferId, from } }) => [
      deliverTransfer({ accountId: from, transferId }),
      completeTransfer({ transferId }),
    ],
    TransferNotReceived: ({ data: { transferId, from, amount } }) => returnTransfer({ accountId: from, transferId, amount }),
    TransferReturned: ({ data: { transferId } }) => refundTransfer({ transferId }),
  },
})
