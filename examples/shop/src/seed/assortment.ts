import type { Random } from './random.ts'

/** A product to begin with. */
export interface Article {
  readonly id: string
  readonly name: string
  readonly category: string
  readonly price: number
  readonly stock: number
  /** The stars that people gave it. */
  readonly stars: readonly number[]
}

interface Shelf {
  readonly category: string
  readonly kinds: readonly string[]
  /** What most of it costs, in cents. */
  readonly price: number
}

const list = (text: string): readonly string[] => text.split(', ')

const shelves: readonly Shelf[] = [
  {
    category: 'Kitchen/Coffee',
    price: 4500,
    kinds: list('Pour-Over Kettle, Coffee Grinder, Espresso Cup, Moka Pot, French Press, Milk Jug'),
  },
  { category: 'Kitchen/Knives', price: 8900, kinds: list('Paring Knife, Chef’s Knife, Bread Knife, Whetstone, Knife Block, Cleaver') },
  { category: 'Kitchen/Pans', price: 6900, kinds: list('Frying Pan, Saucepan, Casserole, Wok, Griddle, Stockpot') },
  { category: 'Kitchen/Table', price: 2400, kinds: list('Dinner Plate, Soup Bowl, Water Glass, Carafe, Serving Dish, Salt Cellar') },
  { category: 'Home/Lighting', price: 12_900, kinds: list('Desk Lamp, Floor Lamp, Pendant, Wall Light, Reading Light, Lantern') },
  { category: 'Home/Storage', price: 3900, kinds: list('Basket, Storage Box, Shelf, Coat Rack, Umbrella Stand, Tray') },
  { category: 'Home/Textiles', price: 5900, kinds: list('Blanket, Cushion, Bath Towel, Bed Sheet, Rug, Curtain') },
  { category: 'Garden/Tools', price: 3400, kinds: list('Trowel, Secateurs, Rake, Watering Can, Hand Fork, Spade') },
  { category: 'Garden/Pots', price: 2900, kinds: list('Plant Pot, Hanging Planter, Saucer, Window Box, Cachepot, Seed Tray') },
  { category: 'Study/Paper', price: 1400, kinds: list('Notebook, Sketchbook, Envelope Set, Writing Pad, Calendar, Index Cards') },
  { category: 'Study/Writing', price: 2600, kinds: list('Fountain Pen, Pencil Set, Ink Bottle, Pencil Sharpener, Ruler, Eraser') },
  { category: 'Study/Desk', price: 7900, kinds: list('Letter Tray, Desk Organiser, Book Stand, Paper Knife, Waste Basket, Monitor Stand') },
  { category: 'Outdoors/Camping', price: 14_900, kinds: list('Tent, Sleeping Mat, Camp Stove, Enamel Mug, Head Torch, Cool Box') },
  { category: 'Outdoors/Carrying', price: 9900, kinds: list('Rucksack, Day Pack, Dry Bag, Tote, Bottle Holder, Belt Bag') },
]

const manners = list(
  'Ash, Beech, Brass, Copper, Walnut, Oak, Linen, Cork, Enamel, Slate, Stoneware, Steel, Terracotta, Birch, Bamboo, Wool, Cotton, Iron, Leather, Glass',
)
const makers = list(
  'Aldgate, Bergström, Cove, Dunmore, Eskil, Fjord, Graaf, Hollis, Ito, Juno, Kestrel, Lindqvist, Maren, Noor, Ortiz, Pell',
)

/** So many different products, spread over the shelves. */
export function makeAssortment(count: number, random: Random): readonly Article[] {
  const names = new Set<string>()
  return Array.from({ length: count }, (_, i) => {
    const shelf = shelves[i % shelves.length] ?? random.pick(shelves)
    let name: string
    do name = `${random.pick(makers)} ${random.pick(manners)} ${random.pick(shelf.kinds)}`
    while (names.has(name))
    names.add(name)
    return {
      id: random.uuid(),
      name,
      category: shelf.category,
      price: priceAround(shelf.price, random),
      stock: stockOf(random),
      stars: starsOf(random),
    }
  })
}

/** From two fifths to three times of what most of it costs, and just under a round sum. */
function priceAround(usual: number, random: Random): number {
  const price = usual * (0.4 + random.exponential(0.7))
  return Math.max(200, Math.ceil(Math.min(price, usual * 3) / 100) * 100) - (random.chance(0.5) ? 5 : 0)
}

/** One in twelve is sold out, one in six nearly. */
function stockOf(random: Random): number {
  if (random.chance(1 / 12)) return 0
  return random.chance(1 / 6) ? 1 + random.below(4) : 8 + random.below(120)
}

function starsOf(random: Random): readonly number[] {
  const liking = 2.6 + random.fraction() * 2.4
  return Array.from({ length: Math.floor(random.exponential(6)) }, () =>
    Math.max(1, Math.min(5, Math.round(liking + random.fraction() * 2 - 1))),
  )
}
