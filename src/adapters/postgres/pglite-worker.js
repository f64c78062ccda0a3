// PGlite blocks the thread it runs in, so it gets one of its own. This file is JavaScript because Node 20 starts no worker on TypeScript.

import { parentPort, workerData } from 'node:worker_threads'

/**
 * @typedef {import('./pglite-message.ts').Statement} Statement
 * @typedef {import('./pglite-message.ts').Reply} Reply
 */

const port = parentPort
if (!port) throw new Error('pglite-worker.js runs as a worker thread only')

const { PGlite, protocol } = await import('@electric-sql/pglite')
const { serialize, messages } = protocol
const engine = await PGlite.create(workerData.dataDir)
/** @type {Set<string>} */
const prepared = new Set()

// What throws in here is no error of a statement but of the engine itself: the thread ends, and the other side hears of it.
port.on('message', async (/** @type {Statement | 'close'} */ request) => {
  if (request === 'close') {
    await engine.close()
    port.close()
  } else {
    port.postMessage(await run(request))
  }
})
port.postMessage({ id: 0, answer: emptyAnswer() })

/**
 * @param {Statement} statement
 * @returns {Promise<Reply>}
 */
async function run(statement) {
  const said = await engine.execProtocolStream(message(statement), { syncToFs: false, throwOnError: false })
  if (statement.name !== undefined && said.some((part) => part.name === 'parseComplete')) prepared.add(statement.name)
  for (const part of said) {
    if (part instanceof messages.DatabaseError) return { id: statement.id, failure: failureOf(part) }
  }
  return { id: statement.id, answer: answerOf(said) }
}

/**
 * The whole conversation about one statement in one message: PostgreSQL answers all of it in one go.
 *
 * @param {Statement} statement
 */
function message({ text, values, name }) {
  if (name === undefined && values.length === 0) return serialize.query(text)
  const parts = [serialize.bind({ statement: name ?? '', values: [...values] }), serialize.describe({ type: 'P' }), serialize.execute({})]
  if (name === undefined || !prepared.has(name)) parts.unshift(serialize.parse({ name: name ?? '', text }))
  return Buffer.concat([...parts, serialize.sync()])
}

/**
 * What the last statement said.
 *
 * @param {Awaited<ReturnType<typeof engine.execProtocolStream>>} said
 */
function answerOf(said) {
  let answer = emptyAnswer()
  let complete = false
  for (const part of said) {
    if (part instanceof messages.ReadyForQueryMessage) {
      answer.status = part.status === 'T' || part.status === 'E' ? part.status : 'I'
    } else if (part instanceof messages.DataRowMessage) {
      answer.rows.push(part.fields)
    } else if (part instanceof messages.RowDescriptionMessage) {
      answer = emptyAnswer()
      answer.fields = part.fields.map(({ name, dataTypeID }) => ({ name, oid: dataTypeID }))
      complete = false
    } else if (part instanceof messages.CommandCompleteMessage) {
      if (complete) answer = emptyAnswer()
      const words = part.text.split(' ')
      answer.command = words[0] ?? ''
      answer.rowCount = Number(words.at(-1)) || 0
      complete = true
    }
  }
  return answer
}

function emptyAnswer() {
  return {
    /** @type {{ name: string, oid: number }[]} */
    fields: [],
    /** @type {(readonly (string | null)[])[]} */
    rows: [],
    command: '',
    rowCount: 0,
    /** @type {'I' | 'T' | 'E' | undefined} */
    status: undefined,
  }
}

/**
 * @param {InstanceType<typeof messages.DatabaseError>} error
 * @returns {import('./failure.ts').ServerFailure}
 */
function failureOf({ code = 'XX000', severity = 'ERROR', message, detail, hint, constraint, position }) {
  return {
    code,
    severity,
    message,
    ...(detail !== undefined && { detail }),
    ...(hint !== undefined && { hint }),
    ...(constraint !== undefined && { constraint }),
    ...(position !== undefined && { position }),
  }
}
