import { chromiumMissing, postgresMissing } from './addresses.ts'
import { mongodbMissing, redisMissing } from './store-addresses.ts'

/** Runs once before all tests: says which suites will be skipped and why, and fails when HEADWATER_TEST_REQUIRE asks for one of them. */
export async function setup(): Promise<void> {
  const missing = new Map<string, string | false>([
    ['postgres', await postgresMissing()],
    ['chromium', chromiumMissing()],
    ['redis', await redisMissing()],
    ['mongodb', await mongodbMissing()],
  ])
  const required = (process.env.HEADWATER_TEST_REQUIRE ?? '')
    .split(',')
    .map((name) => name.trim())
    .filter(Boolean)
  for (const [name, reason] of missing) {
    if (reason && !required.includes(name)) say(`the ${name} suites will be skipped: ${reason}`)
  }
  const faults = required.flatMap((name) => faultOf(name, missing))
  if (faults.length > 0) throw new Error(`HEADWATER_TEST_REQUIRE: ${faults.join('; ')}`)
}

function faultOf(name: string, missing: ReadonlyMap<string, string | false>): readonly string[] {
  const reason = missing.get(name)
  if (reason === undefined) return [`there is nothing named ${JSON.stringify(name)}; known: ${[...missing.keys()].join(', ')}`]
  return reason ? [`${name} is required, but ${reason}`] : []
}

function say(line: string): void {
  process.stdout.write(`${line}\n`)
}
