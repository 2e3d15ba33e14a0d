import { mkdtemp } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { chromium } from 'playwright-core'
import { chromiumBinary } from './paths.mjs'
import { PATIENCE_MS } from './timeout.mjs'

export const launch = () =>
  chromium.launch({
    executablePath: chromiumBinary(),
    args: [
      '--no-sandbox',
      '--disable-gpu',
      '--disable-quic',
      '--no-first-run',
      '--disable-background-networking',
      '--disable-component-update',
      '--disable-sync',
    ],
  })

/** Opens the marketplace as `userId`, in a context of its own, and waits until it is live. */
export async function openPage(browser, { app, service }, userId) {
  const context = await browser.newContext({ viewport: { width: 1360, height: 1000 } })
  context.setDefaultTimeout(PATIENCE_MS)
  const page = await context.newPage()
  const faults = []
  page.on('pageerror', (error) => faults.push(error.message))
  await page.goto(`${app.url}/?user=${userId}&server=${encodeURIComponent(service.url)}`)
  await page.locator('#connection[data-state=live]').waitFor()
  await page.locator('#products [data-id]').first().waitFor()
  return { page, faults, close: () => context.close() }
}

/** Runs a test's steps; where one fails, says where the pictures of the pages are. */
export async function picturedOnFailure(pages, steps) {
  try {
    await steps()
  } catch (error) {
    const folder = await mkdtemp(`${tmpdir()}/rowcast-browser-`)
    for (const [name, { page }] of Object.entries(pages)) {
      await page.screenshot({ path: `${folder}/${name}.png`, fullPage: true }).catch(() => {})
    }
    error.message += `\nthe pages as they were: ${folder}`
    throw error
  }
}
