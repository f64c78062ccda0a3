import type { Random } from './random.ts'

const words = (text: string): readonly string[] => text.split(' ')

const given = words(
  'Ada Amara Anouk Bela Bruno Carmen Chidi Clara Dario Edda Elif Emil Esther Farah Felix Freya Gita Greta Hanna Hugo Ida Ines Ismail Ivo Jana Jonas Kaia Keiko Lars Leila Liam Lotte Magda Malik Marta Mateo Mina Nadia Nils Noor Olga Omar Otto Pavel Petra Priya Quentin Rafael Rosa Samir Selma Sofia Tariq Tessa Tomas Ursula Vera Wanda Yara Yusuf Zoe',
)
const family = words(
  'Abel Adeyemi Ahmadi Almeida Bauer Becker Bianchi Borg Castro Cohen Dahl Diallo Dumont Eriksen Farkas Fischer Garcia Greco Haas Haddad Hansen Ibrahim Ito Jansen Jovanovic Kaya Keller Khan Kowalski Larsen Lopez Marino Mehta Meyer Moreau Nagy Ndiaye Novak Okafor Olsen Ortega Park Pereira Petrov Rao Rossi Sato Schmidt Silva Singh Sokolov Svensson Tanaka Torres Vogel Wagner Weber Wong Yilmaz Zimmer',
)
const businesses = words(
  'Bakery Bicycles Books Brewery Carpentry Ceramics Cinema Dairy Florist Garage Orchard Pharmacy Press Records Tailoring Theatre',
)

/** Somebody, or in one case of twelve a business, who might have an account. */
export function ownerName(random: Random): string {
  if (random.chance(1 / 12)) return `${random.pick(family)} ${random.pick(businesses)}`
  return `${random.pick(given)} ${random.pick(family)}`
}
