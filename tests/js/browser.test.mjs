import assert from 'node:assert/strict'
import { after, before, beforeEach, afterEach, describe, it } from 'node:test'
import { launch, openPage, picturedOnFailure } from './harness/browser.mjs'
import { stage } from './harness/stage.mjs'
import { until } from './harness/timeout.mjs'

describe('the page in a browser', () => {
  let browser, all
  let seller, buyer, onlooker
  before(async () => {
    all = await stage()
    browser = await launch()
  })
  after(async () => {
    await browser?.close()
    await all?.end()
  })
  beforeEach(async () => {
    seller = await openPage(browser, all, 'seller-1')
    buyer = await openPage(browser, all, 'buyer-1')
    onlooker = await openPage(browser, all, 'buyer-5')
  })
  afterEach(() => Promise.all([seller, buyer, onlooker].map((open) => open?.close())))

  const row = ({ page }, list, id) => page.locator(`#${list} [data-id="${id}"]`)
  const stockAt = async (open, id) => Number(await row(open, 'products', id).locator('[data-field=stock]').innerText())
  const stockBecomes = (open, id, stock) =>
    until(async () => (await stockAt(open, id)) === stock, () => `the stock of ${id} to show ${stock}`)
  const press = (place, name) => place.getByRole('button', { name, exact: true }).click()
  const shows = (place, text) =>
    until(async () => (await place.innerText()).includes(text), () => `"${text}" to appear`)

  /** The steps, and then: no page was loaded anew, none had a fault in its script. */
  const withoutReload = (steps) => async () => {
    const pages = { seller, buyer, onlooker }
    await picturedOnFailure(pages, async () => {
      for (const { page } of Object.values(pages)) await page.evaluate(() => { window.neverReloaded = true })
      await steps()
      for (const [name, { page, faults }] of Object.entries(pages)) {
        assert.equal(await page.evaluate(() => window.neverReloaded), true, `the ${name}'s page was not loaded anew`)
        assert.deepEqual(faults, [], `the ${name}'s page has no faults`)
      }
    })
  }

  it('shows the stock falling on every page when a buyer buys', withoutReload(async () => {
    const stock = await stockAt(onlooker, 'product-1')
    await press(row(buyer, 'products', 'product-1'), 'Buy')
    await Promise.all([seller, buyer, onlooker].map((open) => stockBecomes(open, 'product-1', stock - 1)))
    const [{ stock: stored }] = await all.database.query('SELECT stock FROM products WHERE id = $1', ['product-1'])
    assert.equal(stored, stock - 1)
  }))

  it("shows the buyer's order to the seller, and its shipping to the buyer", withoutReload(async () => {
    await press(row(buyer, 'products', 'product-2'), 'Buy')
    const order = await until(
      async () => (await all.app.get('/orders?buyer=buyer-1')).find(({ items }) => items.includes('product-2')),
      () => 'the order to be stored',
    )
    await row(seller, 'orders', order.id).waitFor()
    await press(row(seller, 'orders', order.id), 'Ship')
    await shows(row(buyer, 'orders', order.id), 'shipped')
  }))

  it('alerts the seller, and nobody else, when the stock runs low', withoutReload(async () => {
    await all.app.patch('/products/product-2', { stock: 10 })
    await stockBecomes(buyer, 'product-2', 10)
    await press(row(buyer, 'products', 'product-2'), 'Buy')
    const alert = seller.page.locator('#alerts [data-type="stock:low"]').first()
    await alert.waitFor()
    assert.match(await alert.innerText(), /only 9 left/)
    await stockBecomes(onlooker, 'product-2', 9)
    assert.equal(await onlooker.page.locator('#feed [data-type="stock:low"]').count(), 0)
  }))

  it('shows a price cut on a product that a buyer looks at', withoutReload(async () => {
    await press(row(onlooker, 'products', 'product-3'), 'Look')
    const price = onlooker.page.locator('#product [data-field=price]')
    await price.waitFor()
    const before = Number((await price.innerText()).slice(1))
    await press(row(seller, 'products', 'product-3'), '10 % off')
    const after = `$${(before * 0.9).toFixed(2)}`
    await shows(price, after)
    await onlooker.page.locator('#feed [data-type="product:price_changed"]').first().waitFor()
  }))

  it('shows a quotation that the seller sends at the buyer, and its acceptance at the seller', withoutReload(async () => {
    const form = seller.page.locator('#new-quotation')
    await form.getByLabel("Buyer's e-mail").fill('buyer-1@example.com')
    await form.getByLabel('Product').selectOption('product-1')
    await form.getByLabel('Quantity').fill('12')
    await form.getByLabel('Unit price').fill('21.50')
    await press(form, 'Draft')
    const quotation = await until(
      async () => (await all.app.get('/quotations?seller=seller-1')).find(({ buyerEmail }) => buyerEmail === 'buyer-1@example.com'),
      () => 'the quotation to be stored',
    )
    await shows(row(seller, 'quotations', quotation.id), 'draft')
    assert.equal(await row(buyer, 'quotations', quotation.id).count(), 0, 'a draft is not for the buyer')

    await press(row(seller, 'quotations', quotation.id), 'Send')
    await shows(row(buyer, 'quotations', quotation.id), '$258.00')
    await press(row(buyer, 'quotations', quotation.id), 'View')
    await shows(row(seller, 'quotations', quotation.id), 'viewed')
    await press(row(buyer, 'quotations', quotation.id), 'Accept')
    await shows(row(seller, 'quotations', quotation.id), 'accepted')
    await seller.page.locator('#alerts [data-type="quotation:accepted"]').waitFor()
    assert.equal(await onlooker.page.locator('#feed li[data-type^="quotation:"]').count(), 0)
  }))

  it('shows a new product in the shop', withoutReload(async () => {
    const form = seller.page.locator('#new-product')
    await form.getByLabel('Name').fill('Butter lamp')
    await form.getByLabel('Price').fill('33.00')
    await press(form, 'Add')
    await buyer.page.locator('#products').getByText('Butter lamp').waitFor()
  }))

  it('is live again, and up to date, after the connection was cut', withoutReload(async () => {
    const stock = await stockAt(buyer, 'product-1')
    await buyer.page.context().setOffline(true)
    await buyer.page.evaluate(() => socket.io.engine.close()) // offline does not cut an open WebSocket
    await buyer.page.locator('#connection[data-state=offline]').waitFor()
    await press(row(onlooker, 'products', 'product-1'), 'Buy')
    await stockBecomes(onlooker, 'product-1', stock - 1)
    await buyer.page.context().setOffline(false)
    await buyer.page.locator('#connection[data-state=live]').waitFor()
    await stockBecomes(buyer, 'product-1', stock - 1)
  }))
})
