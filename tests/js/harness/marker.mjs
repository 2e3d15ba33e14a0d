// Proof of absence. A socket's events arrive in the order of the changes, so once a later marker has arrived, whatever
// has not been heard by then was not sent. The marker is the price of a product that no test uses and all sockets view.

const PRODUCT = 'marker'
let price = 1

export async function installMarker(database) {
  await database.query(
    `INSERT INTO products (id, seller_id, name, price, stock, status) VALUES ($1, 'marker', 'Marker', 1, 100, 'active')`,
    [PRODUCT],
  )
}

export const watchMarker = (frontend) => frontend.joins('join:product', { productId: PRODUCT })

/**
 * Waits until each frontend has heard everything that was committed so far, and what followed from it: who hears the second
 * marker knows that the service is done with what it swept together with the first, so that the notifications about it are
 * written, and the third stands behind these in the log.
 */
export async function settle(database, frontends) {
  for (let times = 0; times < 3; times += 1) await mark(database, frontends)
}

async function mark(database, frontends) {
  price += 1
  const wanted = `${price}.00`
  await database.query('UPDATE products SET price = $1 WHERE id = $2', [wanted, PRODUCT])
  const isMarker = (event) => event.data.productId === PRODUCT && event.data.newPrice === wanted
  await Promise.all(frontends.map((frontend) => frontend.hears('product:price_changed', isMarker)))
}

/** What a frontend heard since `from`, without the markers. */
export const heardSince = (frontend, from) =>
  frontend.heard.slice(from).filter(({ event }) => event?.data?.productId !== PRODUCT)
