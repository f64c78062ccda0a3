/** Does something now and then again, each time a pause after it ended, while somebody looks at the page and until `signal` ends it. */
export function every(ms, work, signal) {
  let timer
  const loop = async () => {
    if (!document.hidden) await work().catch(() => {})
    if (!signal?.aborted) timer = setTimeout(loop, ms)
  }
  loop()
  signal?.addEventListener('abort', () => clearTimeout(timer))
}
