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

/**
 * Opens the service's own page, the demo, as this buyer and this seller, in a context of its own, and waits until both
 * are live.
 */
export async function openDemo(browser, service, { buyer = 'buyer-1', seller = 'seller-1' } = {}) {
  const context = await browser.newContext({ viewport: { width: 1400, height: 900 } })
  context.setDefaultTimeout(PATIENCE_MS)
  const page = await context.newPage()
  const faults = []
  page.on('pageerror', (error) => faults.push(error.message))
  page.on('console', (message) => {
    const { url } = message.location()
    // A connection that is given up while it changes to WebSocket may still ask for its session, which has ended.
    if (message.type() === 'error' && !url.includes('/socket.io/')) faults.push(`${message.text()} ${url}`)
  })
  await page.goto(service.url)
  await page.locator('#buyer option').first().waitFor({ state: 'attached' })
  await page.locator('#buyer').selectOption(buyer)
  await page.locator('#seller').selectOption(seller)
  for (const side of ['buyer', 'seller']) await page.locator(`#link-${side}[data-state=live]`).waitFor()
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
