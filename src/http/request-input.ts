import { HttpFault } from './http-fault.ts'

type JsonObject = Readonly<Record<string, unknown>>

/**
 * The JSON object in the body. The bound holds for what really arrives, whatever `Content-Length` says.
 * @throws {HttpFault} `unsupported_media_type`, `too_large`, `malformed`
 */
export async function readBody(request: Request, maxBytes: number): Promise<JsonObject> {
  checkMediaType(request.headers)
  if (Number(request.headers.get('content-length')) > maxBytes) throw tooLarge(maxBytes)
  return parseObject('the body', await readText(request, maxBytes))
}

/**
 * The JSON object in the parameter `input`; `{}` when there is none.
 * @throws {HttpFault} `malformed`
 */
export function readQueryInput(search: string): JsonObject {
  // Not URLSearchParams: it puts U+FFFD where the text is no UTF-8, and a query would then be answered that nobody asked.
  const inputs = search
    .replace(/^\?/, '')
    .split('&')
    .map((parameter) => /^input(?:=(.*))?$/s.exec(parameter))
    .filter((match) => match !== null)
  if (inputs.length > 1) throw malformed('there is more than one parameter "input"')
  const [only] = inputs
  return only ? parseObject('the parameter "input"', decode(only[1] ?? '')) : {}
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text.replaceAll('+', ' '))
  } catch {
    throw malformed('the parameter "input" is not percent-encoded UTF-8')
  }
}

function checkMediaType(headers: Headers): void {
  const mediaType = headers.get('content-type')?.split(';')[0]?.trim().toLowerCase()
  if (mediaType !== 'application/json') throw new HttpFault('unsupported_media_type', 'send the input as application/json')
  const encoding = headers.get('content-encoding')?.trim().toLowerCase() ?? 'identity'
  if (encoding !== 'identity') throw new HttpFault('unsupported_media_type', 'send the body as it is, without a content encoding')
}

async function readText(request: Request, maxBytes: number): Promise<string> {
  if (!request.body) return ''
  const reader = request.body.getReader()
  const decoder = new TextDecoder('utf-8', { fatal: true })
  let text = ''
  for (let bytes = 0; ; ) {
    const { done, value } = await reader.read().catch(() => {
      throw malformed('the body broke off')
    })
    if (done) return text + decodeChunk(decoder, undefined)
    bytes += value.byteLength
    if (bytes > maxBytes) {
      // Not awaited: whoever sends it may take for ever to hear of it.
      reader.cancel().catch(() => {})
      throw tooLarge(maxBytes)
    }
    text += decodeChunk(decoder, value)
  }
}

function decodeChunk(decoder: InstanceType<typeof TextDecoder>, chunk: Uint8Array | undefined): string {
  try {
    return decoder.decode(chunk, { stream: chunk !== undefined })
  } catch {
    throw malformed('the body is not UTF-8')
  }
}

function parseObject(what: string, text: string): JsonObject {
  const value = parseJson(what, text)
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw malformed(`${what} is not a JSON object`)
  return value as JsonObject
}

function parseJson(what: string, text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    throw malformed(`${what} is not JSON`)
  }
}

function malformed(detail: string): HttpFault {
  return new HttpFault('malformed', detail)
}

function tooLarge(maxBytes: number): HttpFault {
  return new HttpFault('too_large', `the body is larger than ${maxBytes} bytes`)
}
