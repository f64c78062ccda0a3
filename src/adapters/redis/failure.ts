import { DatabaseUnavailableError, HeadwaterError, IncompatibleStoreError, isHeadwaterError } from '../../index.ts'

/** First words of what a server answers when it cannot serve now, but may later. */
const passing = new Set(['LOADING', 'BUSY', 'TRYAGAIN', 'CLUSTERDOWN', 'MASTERDOWN', 'READONLY', 'MISCONF', 'NOREPLICAS'])

/**
 * What went wrong, in this library's words: the server could not be reached (`during` a commit: the batch may have been written), holds
 * something else under our names, or refused.
 */
export function failureOf(error: unknown, description: string, during: 'connect' | 'statement' | 'commit'): unknown {
  if (isHeadwaterError(error) || !(error instanceof Error)) return error
  const word = error.message.split(' ', 1)[0] ?? ''
  const said = `${description}: ${error.message || error.name}`
  const foreign = /HEADWATER_FOREIGN (.*)/s.exec(error.message)?.[1]
  if (foreign) return notOurs(description, foreign)
  if (word === 'WRONGTYPE') {
    return new IncompatibleStoreError('other_version', `${description}: something else lives under our keys; give another prefix`, {
      cause: error,
    })
  }
  const format = /HEADWATER_FORMAT (.*)/s.exec(error.message)?.[1]
  if (format) return newerFormat(description, format)
  const isReply = /^[A-Z]+$/.test(word) && word === word.toUpperCase() && word.length > 2
  if (isReply && !passing.has(word)) return new HeadwaterError('store_error', said, { cause: error })
  return new DatabaseUnavailableError(said, during, { cause: error })
}

export function newerFormat(description: string, format: string): IncompatibleStoreError {
  return new IncompatibleStoreError(
    'newer_schema',
    `${description}: holds a read model in the format ${JSON.stringify(format)}, which this version does not know; deploy the version that wrote it, or drop it`,
  )
}

export function notOurs(description: string, what: string): IncompatibleStoreError {
  return new IncompatibleStoreError('other_version', `${description}: ${what}, which Headwater did not make; give another prefix`)
}
