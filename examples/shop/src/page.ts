import { readdirSync, readFileSync } from 'node:fs'
import { extname } from 'node:path'

const types: Readonly<Record<string, string>> = {
  '.html': 'text/html; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.svg': 'image/svg+xml',
}

const headers = {
  'Cache-Control': 'no-cache',
  'Content-Security-Policy': "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; object-src 'none'",
  'Referrer-Policy': 'no-referrer',
  'X-Content-Type-Options': 'nosniff',
}

/** Serves the files of `public/`, read once: a page of plain modules, no build. Anything that is no file there is undefined. */
export function page(): (request: Request) => Response | undefined {
  const folder = new URL('../public/', import.meta.url)
  const files = new Map(readdirSync(folder).map((name) => [`/${name}`, readFileSync(new URL(name, folder))]))
  return ({ url, method }) => {
    const { pathname } = new URL(url)
    const path = pathname === '/' ? '/index.html' : pathname
    const content = files.get(path)
    const type = types[extname(path)]
    if (!content || !type) return undefined
    if (method !== 'GET' && method !== 'HEAD') return new Response(null, { status: 405, headers: { Allow: 'GET, HEAD' } })
    return new Response(method === 'HEAD' ? null : content, { headers: { ...headers, 'Content-Type': type } })
  }
}
