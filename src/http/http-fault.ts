/** What is wrong with a request before the application sees it. Never leaves the handler: it is answered as a problem of that `code`. */
export class HttpFault extends Error {
  readonly code: 'malformed' | 'not_found' | 'method_not_allowed' | 'too_large' | 'unsupported_media_type' | 'read_only'
  readonly headers: Readonly<Record<string, string>>

  constructor(code: HttpFault['code'], detail: string, headers: Readonly<Record<string, string>> = {}) {
    super(detail)
    this.name = 'HttpFault'
    this.code = code
    this.headers = headers
  }
}
