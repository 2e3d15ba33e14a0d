import assert from 'node:assert/strict'
import { after, afterEach, before, describe, it } from 'node:test'
import { launch, openDemo, picturedOnFailure } from './harness/browser.mjs'
import { stage } from './harness/stage.mjs'
import { until } from './harness/timeout.mjs'

describe('the demo page in a browser', () => {
  let browser, all
  let pages = {}
  before(async () => {
    all = await stage({ app: false })
    browser = await launch()
  })
  after(async () => {
    await browser?.close()
    await all?.end()
  })
  afterEach(async () => {
    await Promise.all(Object.values(pages).map((open) => open.close()))
    pages = {}
  })

  /** Opens a tab; a failure's pictures bear its name. */
  const tab = async (name, who) => (pages[name] = await openDemo(browser, all.service, who)).page

  /** The steps, and then: no page had a fault in its script, and none asked for what is not there. */
  const withoutFaults = (steps) => () =>
    picturedOnFailure(pages, async () => {
      await steps()
      for (const [name, { faults }] of Object.entries(pages)) assert.deepEqual(faults, [], `the page ${name} has no faults`)
    })

  const query = (sql, ...values) => all.database.query(sql, values)
  const bell = (page, owner) => page.getByRole('button', { name: `The ${owner}’s notifications` })
  const inbox = (page, owner) => page.getByRole('dialog', { name: `The ${owner}’s inbox` })
  const product = (page, id) => page.locator(`#storefront .product[data-id="${id}"]`)
  const look = (page, id) => product(page, id).locator('.product-open').click()
  const number = (text) => Number(text.replace(/[^\d.]/g, ''))
  const shows = (place, text) =>
    until(async () => (await place.innerText()).replace(/\s+/g, ' ').includes(text), () => `"${text}" to appear`)
  const isGone = (place) => place.waitFor({ state: 'hidden' })

  /** How many are unread by the bell. */
  const unread = async (page, owner) => {
    const badge = bell(page, owner).locator('b')
    return (await badge.isVisible()) ? Number(await badge.innerText()) : 0
  }
  const unreadBecomes = (page, owner, count) =>
    until(async () => (await unread(page, owner)) === count, () => `the ${owner}'s bell to show ${count}`)

  const emptyInboxes = () => query('DELETE FROM rowcast.notification')
  const notify = (userId, title, body = '') =>
    query('INSERT INTO rowcast.notification (user_id, kind, title, body) VALUES ($1, $2, $3, $4)', userId, 'system', title, body)

  let orders = 0
  const order = async (total, buyer = 'buyer-1', seller = 'seller-1') => {
    const id = `demo-order-${(orders += 1)}`
    await query(
      `INSERT INTO orders (id, user_id, seller_id, customer_name, customer_email, total, created_at)
       VALUES ($1, $2, $3, 'Ada', 'buyer-1@example.com', $4, to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'))`,
      id, buyer, seller, total,
    )
    return id
  }
  const pay = (id) => query("UPDATE orders SET payment_status = 'fully_paid', amount_paid = total WHERE id = $1", id)

  it('counts what arrives at both bells, and opens on what it was', withoutFaults(async () => {
    await emptyInboxes()
    const page = await tab('both')
    await Promise.all([unreadBecomes(page, 'buyer', 0), unreadBecomes(page, 'seller', 0)])
    await order('31.00')
    await Promise.all([unreadBecomes(page, 'buyer', 1), unreadBecomes(page, 'seller', 1)])

    await bell(page, 'seller').press('Enter')
    await shows(inbox(page, 'seller'), 'You have a new order of 31.00 USD from Ada.')
    await page.keyboard.press('Escape')
    await isGone(inbox(page, 'seller'))
    assert.ok(await bell(page, 'seller').evaluate((button) => button === document.activeElement), 'the focus is back at the bell')
  }))

  it('marks as read and deletes in one tab what another tab of the same user shows', withoutFaults(async () => {
    await emptyInboxes()
    for (const title of ['First', 'Second', 'Third']) await notify('buyer-2', title)
    const one = await tab('one', { buyer: 'buyer-2' })
    const other = await tab('other', { buyer: 'buyer-2' })
    await Promise.all([one, other].map((page) => unreadBecomes(page, 'buyer', 3)))
    for (const page of [one, other]) await bell(page, 'buyer').click()
    const letter = (page, title) => inbox(page, 'buyer').getByRole('listitem').filter({ hasText: title })
    const isUnread = (page, title) => letter(page, title).evaluate((element) => 'unread' in element.dataset)

    assert.equal(await isUnread(other, 'Second'), true)
    await one.getByRole('button', { name: 'Mark as read: Second' }).click()
    await Promise.all([one, other].map((page) => unreadBecomes(page, 'buyer', 2)))
    assert.equal(await isUnread(other, 'Second'), false)
    assert.equal(await isUnread(other, 'First'), true)

    await other.getByRole('button', { name: 'Delete: First' }).click()
    await isGone(letter(one, 'First'))
    await Promise.all([one, other].map((page) => unreadBecomes(page, 'buyer', 1)))

    await one.getByRole('button', { name: 'Mark all read' }).click()
    await Promise.all([one, other].map((page) => unreadBecomes(page, 'buyer', 0)))
    assert.equal(await isUnread(other, 'Third'), false)
  }))

  it('turns the pages of a long inbox', withoutFaults(async () => {
    await emptyInboxes()
    await query(
      `INSERT INTO rowcast.notification (user_id, title, created_at)
       SELECT 'buyer-3', 'Letter ' || n, now() - make_interval(mins => n) FROM generate_series(1, 45) AS n`,
    )
    const page = await tab('long', { buyer: 'buyer-3' })
    await unreadBecomes(page, 'buyer', 45)
    await bell(page, 'buyer').click()
    const letters = inbox(page, 'buyer').getByRole('listitem')
    const become = (count) => until(async () => (await letters.count()) === count, () => `${count} letters`)
    const older = page.getByRole('button', { name: 'Older ones' })
    await become(20)
    await older.click()
    await become(40)
    await older.click()
    await become(45)
    await isGone(older)
    assert.match(await letters.first().innerText(), /Letter 1\b/)
    assert.match(await letters.last().innerText(), /Letter 45\b/)
  }))

  it("moves today's revenue when an order is paid, and lists the sale when it has arrived", withoutFaults(async () => {
    const page = await tab('seller')
    const revenue = page.locator('#revenue-today')
    const paid = await order('120.50')
    await page.locator(`#orders [data-id="${paid}"]`).waitFor()
    const before = number(await revenue.innerText())
    await pay(paid)
    await until(async () => number(await revenue.innerText()) === before + 120.5, () => `${before + 120.5} to be today's revenue`)
    await query("UPDATE orders SET status = 'delivered', fulfillment_status = 'fulfilled' WHERE id = $1", paid)
    await shows(page.locator(`#sales [data-id="${paid}"]`), '$120.50')

    // Who opens the page now finds the same figures.
    const later = await tab('later')
    await shows(later.locator('#revenue-today'), await revenue.innerText())
    const [{ count }] = await query("SELECT count(*) FROM orders WHERE seller_id = 'seller-1'")
    await shows(later.locator('#metric-orders'), count)
  }))

  it('counts who looks at a product, at both who look and at its seller', withoutFaults(async () => {
    const one = await tab('one', { buyer: 'buyer-1', seller: 'seller-2' })
    const other = await tab('other', { buyer: 'buyer-4', seller: 'seller-3' })
    const seen = one.locator('#attention [data-id="product-6"]')
    await look(one, 'product-6')
    await shows(product(one, 'product-6').locator('.detail'), 'Nobody else looks at it.')
    await shows(seen, '1 view')
    await look(other, 'product-6')
    for (const page of [one, other]) await shows(product(page, 'product-6').locator('.detail'), '2 people look at it now.')
    await shows(seen, '2 views')
    assert.equal(await seen.locator('.eye').innerText(), '2')

    await look(other, 'product-6')
    await shows(product(one, 'product-6').locator('.detail'), 'Nobody else looks at it.')
    await until(async () => (await seen.locator('.eye').innerText()) === '1', () => 'the seller to see one person')
  }))

  it("follows the buyer's cart", withoutFaults(async () => {
    const page = await tab('buyer')
    const cart = page.locator('#cart')
    await shows(cart, 'Stoneware mug, speckled ×2')
    await shows(cart, 'Linen apron (slate, M) ×1')
    await query(`UPDATE carts SET items = '[{"productId": "product-1", "quantity": 3}, {"productId": "product-2", "quantity": 1}]' WHERE id = 'cart-1'`)
    await shows(cart, 'Stoneware mug, speckled ×3')
    await shows(cart, 'Serving bowl, celadon ×1')
    await shows(page.locator('#cart-sum'), '5 pieces, $194.00')
    await query("UPDATE carts SET items = '[]' WHERE id IN ('cart-1', 'cart-2')")
    await until(async () => (await cart.getByRole('listitem').count()) === 0, () => 'the cart to be empty')
  }))

  it('says that a product is there again to who looked at it while it was sold out, and opens it', withoutFaults(async () => {
    await query("UPDATE products SET stock = 0 WHERE id = 'product-8'")
    const page = await tab('buyer')
    await shows(product(page, 'product-8'), 'sold out')
    await look(page, 'product-8')
    await shows(product(page, 'product-8').locator('.detail'), 'live in room')
    // Whoever is here while it is sold out is remembered before anything else is heard of the room.
    await until(
      async () => (await query("SELECT FROM rowcast.waiting WHERE id = 'product-8' AND user_id = 'buyer-1'")).length === 1,
      () => 'the buyer to be remembered',
    )
    await look(page, 'product-8')
    await query("UPDATE products SET stock = 12 WHERE id = 'product-8'")
    const news = page.getByRole('status', { name: 'News' })
    await shows(news, 'Merino scarf, tidal is there again: 12 in stock')
    await news.getByRole('button', { name: 'Show' }).click()
    await shows(product(page, 'product-8').locator('.detail'), 'live in room')
    assert.equal(await news.getByRole('listitem').count(), 0)
  }))

  it('shows whether the buyer of a quotation is online', withoutFaults(async () => {
    const page = await tab('seller')
    const presence = page.locator('#quotations [data-id="quotation-1"] .presence')
    const buyer = await all.connect('buyer-2')
    await until(async () => (await presence.getAttribute('data-online')) === 'true', () => 'the buyer to be online')
    buyer.close()
    await until(async () => (await presence.getAttribute('data-online')) === 'false', () => 'the buyer to be offline')
  }))

  it('shows markup in names as text', withoutFaults(async () => {
    const page = await tab('page')
    const name = '<img src=x onerror="document.title=1">'
    await query("UPDATE products SET name = $1 WHERE id = 'product-3'", name)
    await notify('buyer-1', name, name)
    await bell(page, 'buyer').click()
    await shows(inbox(page, 'buyer'), name)
    await shows(product(page, 'product-3'), name)
    assert.equal(await page.locator('img').count(), 0)
  }))

  it('goes on listening as the user that was typed in, where there is no shop', withoutFaults(async () => {
    const products = await query('DELETE FROM products RETURNING *')
    assert.ok(products.length > 0)
    const page = await tab('empty')
    await page.getByLabel('User id to listen as').fill('helper-1')
    await page.getByRole('button', { name: 'Connect' }).click()
    const link = page.locator('#link-seller[data-state=live]')
    await shows(link, 'helper-1, live')
    const drawn = page.waitForResponse('**/demo/state')
    await page.locator('#buyer').selectOption('buyer-2')
    await drawn
    await shows(page.locator('#link-buyer[data-state=live]'), 'Bruno, live')
    assert.match(await link.innerText(), /helper-1, live/)

    await page.getByLabel('Room to join, such as product:42').fill('product:42')
    await page.getByRole('button', { name: 'Join' }).click()
    await shows(page.locator('#join-ack'), 'Live in room product:42.')
  }))
})
