import { aggregate } from 'headwater'
import { z } from 'zod'

const cents = z.int().nonnegative()

/** A line of an order: at the price it had when it was ordered. */
export const orderLine = z.object({ productId: z.uuid(), quantity: z.int().positive(), price: cents })

interface Order {
  readonly isPlaced: boolean
}

/** An order. Nobody decides on its state yet: `placeOrder` is a command over tables, because what it must not do is sell what is not in stock. */
export const order = aggregate('order', {
  events: { OrderPlaced: z.object({ customerId: z.uuid(), lines: z.array(orderLine).min(1), total: cents }) },
  initialState: (): Order => ({ isPlaced: false }),
  evolve: { OrderPlaced: () => ({ isPlaced: true }) },
})
