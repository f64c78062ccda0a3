import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type Browser, chromium, type Page } from 'playwright-core'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { chromiumMissing, chromiumPath } from '../../../test/support/addresses.ts'
import { built } from './client.ts'
import { type RunningExample, startExample } from './running-example.ts'

const switches = [
  'no-sandbox',
  'disable-gpu',
  'disable-quic',
  'no-first-run',
  'disable-background-networking',
  'disable-component-update',
  'disable-sync',
]

describe.skipIf(chromiumMissing())('the page', () => {
  const directory = mkdtempSync(join(tmpdir(), 'microblog-page-'))
  const faults: string[] = []
  let example: RunningExample
  let browser: Browser
  let page: Page

  beforeAll(async () => {
    example = await startExample({ DATA_DIR: directory })
    await built(example.url)
    browser = await chromium.launch({ executablePath: chromiumPath, args: switches.map((name) => `--${name}`) })
    page = await open()
  })
  afterAll(async () => {
    await browser?.close()
    await example?.end()
    rmSync(directory, { recursive: true, force: true })
  })

  /** A browser of somebody else's, as it were. */
  async function open(): Promise<Page> {
    const opened = await (await browser.newContext({ viewport: { width: 1280, height: 800 } })).newPage()
    opened.on('pageerror', (error) => faults.push(error.message))
    opened.on('console', (message) => message.type() === 'error' && faults.push(message.text()))
    watchTokens(opened)
    await opened.goto(example.url)
    return opened
  }

  /** Once it has written something, a page must send its last token with everything it asks. */
  function watchTokens(opened: Page): void {
    let token: string | undefined
    opened.on('response', (response) => {
      token = response.headers()['headwater-token'] ?? token
    })
    opened.on('request', (request) => {
      if (!token || !/\/(commands|queries)\//.test(request.url())) return
      if (request.headers()['headwater-token'] !== token) faults.push(`without its last token: ${request.url()}`)
    })
  }

  const go = (name: string) => page.getByRole('navigation', { name: 'Pages' }).getByRole('link', { name }).click()
  const heading = (name: string) => page.getByRole('heading', { level: 1, name, exact: true }).waitFor()
  const card = (text: string) => page.locator('main article', { hasText: text })
  const likes = (text: string) => card(text).locator('.like')

  async function publish(text: string): Promise<void> {
    await page.getByLabel('Write a post').fill(text)
    await page.getByRole('button', { name: 'Publish' }).click()
    await card(text).waitFor()
  }

  it('begins empty, and lets one join', async () => {
    await page.getByText('Be the first to write something.').waitFor()
    await page.getByRole('link', { name: 'Sign in' }).first().click()
    await heading('Who are you?')
    await page.getByLabel('Your name').fill('Inés Vale')
    await page.getByRole('button', { name: 'Join' }).click()
    await heading('Everyone')
    await page.getByText('Be somebody else').waitFor()
    expect(await page.locator('.whoami strong').textContent()).toBe('Inés Vale')
  })

  it('shows a new post at once, on the timeline, on the profile and among what is found', async () => {
    await publish('Marmalade at midnight')
    await go('Profile')
    await heading('Profile')
    await card('Marmalade at midnight').waitFor()
    expect(await page.locator('.counts div', { hasText: 'post' }).first().textContent()).toMatch(/^1\s*post$/)
    await go('Search')
    await page.getByLabel('Search posts').fill('marmal')
    await card('Marmalade at midnight').locator('mark').waitFor()
    expect(await card('Marmalade at midnight').locator('mark').textContent()).toBe('Marmalade')
  })

  it('shows a like given to a hit wherever the post is shown', async () => {
    await likes('Marmalade').click()
    await page.locator('.like[aria-pressed="true"]').waitFor()
    await go('Everyone')
    await heading('Everyone')
    await page.getByRole('button', { name: '1 like: take back mine' }).waitFor()
    await card('Marmalade').locator('.when').click()
    await heading('Thread')
    await page.getByRole('button', { name: '1 like: take back mine' }).waitFor()
    await go('Profile')
    await heading('Profile')
    expect(await page.locator('.counts div', { hasText: 'like received' }).textContent()).toMatch(/^1/)
    await page.getByRole('button', { name: '1 like: take back mine' }).click()
    await page.getByRole('button', { name: '0 likes: like' }).waitFor()
  })

  it('shows a reply in its thread and counts it', async () => {
    await go('Everyone')
    await card('Marmalade').locator('.when').click()
    await heading('Thread')
    await page.getByLabel('Reply to Inés Vale').fill('With toast, of course')
    await page.getByRole('button', { name: 'Reply', exact: true }).click()
    await card('With toast, of course').waitFor()
    await page.getByRole('link', { name: '1 reply: read and answer' }).waitFor()
    await go('Everyone')
    await heading('Everyone')
    await page.getByRole('link', { name: '1 reply: read and answer' }).waitFor()
    expect(await card('With toast').count()).toBe(0)
  })

  it('shows a new name on every page', async () => {
    await go('Profile')
    await page.getByRole('button', { name: 'Change name' }).click()
    await page.locator('.rename-field').fill('Inés del Valle')
    await page.getByRole('button', { name: 'Save' }).click()
    await page.getByRole('heading', { level: 2, name: 'Inés del Valle' }).waitFor()
    expect(await page.locator('.whoami strong').textContent()).toBe('Inés del Valle')
    expect(await page.locator('main article .author').allTextContents()).toStrictEqual(['Inés del Valle'])
    await go('Everyone')
    await heading('Everyone')
    expect(await page.locator('main article .author').allTextContents()).toStrictEqual(['Inés del Valle'])
    await page.locator('#aside', { hasText: 'Inés del Valle' }).waitFor()
    await card('Marmalade').locator('.when').click()
    await heading('Thread')
    expect(await page.locator('main article .author').allTextContents()).toStrictEqual(['Inés del Valle', 'Inés del Valle'])
    await go('Search')
    await page.getByLabel('Search posts').fill('valle')
    await card('Marmalade').waitFor()
  })

  it('edits and deletes', async () => {
    await go('Everyone')
    await publish('To be mended')
    await card('To be mended').getByRole('button', { name: 'Edit this post' }).click()
    await page.getByLabel('Edit the post').fill('It is mended now')
    await page.getByRole('button', { name: 'Save' }).click()
    await card('It is mended now').waitFor()
    await card('It is mended now').getByRole('button', { name: 'Delete this post' }).click()
    await page.getByRole('dialog').getByRole('button', { name: 'Delete' }).click()
    await card('It is mended now').waitFor({ state: 'detached' })
    await page.reload()
    await card('Marmalade').waitFor()
    expect(await page.locator('main article').count()).toBe(1)
  })

  it('shows what people write as text, whatever it is', async () => {
    const text = '<img src=x onerror=alert(1)> <b>bold</b> &amp;'
    await publish(text)
    expect(await page.locator('main .body').first().textContent()).toBe(text)
    await go('Search')
    await page.getByLabel('Search posts').fill('bold')
    await page.locator('main .body mark').waitFor()
    expect(await page.locator('main .body').first().textContent()).toBe(text)
    expect(await page.locator('main .body *:not(mark)').count()).toBe(0)
  })

  it('shows others what is new, and lets them follow', async () => {
    const other = await open()
    await other.goto(`${example.url}/#/people`)
    await other.getByLabel('Your name').fill('Tomasz')
    await other.getByRole('button', { name: 'Join' }).click()
    await other.getByText('Marmalade').waitFor()
    await go('Everyone')
    await publish('Hello, Tomasz')
    await other.getByRole('button', { name: 'Show 1 new post' }).click()
    await other.getByText('Hello, Tomasz').waitFor()
    await other.locator('main article .author').first().click()
    await other.getByRole('button', { name: 'Follow', exact: true }).click()
    await other.getByRole('button', { name: 'Following', exact: true }).waitFor()
    await other.locator('.counts div', { hasText: '1follower' }).waitFor()
    await other.getByRole('navigation', { name: 'Pages' }).getByRole('link', { name: 'Following' }).click()
    await other.locator('main article', { hasText: 'Hello, Tomasz' }).waitFor()
    await other.context().close()
  })

  it('can be used from the keyboard', async () => {
    await go('Everyone')
    await heading('Everyone')
    await page.getByText('Hello, Tomasz').waitFor()
    await page.keyboard.press('j')
    await page.keyboard.press('j')
    await page.keyboard.press('k')
    await page.keyboard.press('l')
    await card('Hello, Tomasz').locator('.like[aria-pressed="true"]').waitFor()
    await page.keyboard.press('Enter')
    await heading('Thread')
    await page.keyboard.press('/')
    await heading('Search')
    expect(await page.evaluate('document.activeElement.id')).toBe('search-field')
  })

  it('shows how each read model is', async () => {
    const lines = page.locator('#strip .model')
    expect(await lines.count()).toBe(3)
    const text = await page.locator('#strip [data-model="published_posts"]').textContent()
    expect(text).toMatch(/published_postssync\d+ ms lag\d+ pending\d+ rows[\d.]+ [kM]Bsources [\d.]+ [kM]B/)
  })

  it('always sent its last token, and never did anything that its own policy or the browser complains of', () => {
    expect(faults).toStrictEqual([])
  })
})
