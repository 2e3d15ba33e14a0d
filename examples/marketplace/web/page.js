// The marketplace's page. What it shows is what the database has: an event only says which list to load anew.

const query = new URLSearchParams(location.search)
const server = query.get('server') ?? 'http://localhost:4000'
const userId = query.get('user') ?? 'buyer-1'

const FEED_LENGTH = 60
const ALERT_LENGTH = 8
const LOW_STOCK = 10

const socket = io(server, {
  auth: { userId },
  autoConnect: true,
  reconnection: true,
  reconnectionDelay: 1000,
  reconnectionAttempts: 5,
})

const $ = (id) => document.getElementById(id)

/** el('li', { class: 'x', onclick: f }, 'text', node) */
function el(tag, attributes = {}, ...children) {
  const node = document.createElement(tag)
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith('on')) node.addEventListener(name.slice(2), value)
    else if (value === true) node.setAttribute(name, '')
    else if (value !== false && value != null) node.setAttribute(name, value)
  }
  node.append(...children.filter((child) => child != null))
  return node
}

// Talking to the application.

async function api(method, path, body) {
  const response = await fetch(path, {
    method,
    headers: body === undefined ? {} : { 'content-type': 'application/json' },
    body: body === undefined ? undefined : JSON.stringify(body),
  })
  const answer = await response.json()
  if (!response.ok) throw new Error(answer.error)
  if (method !== 'GET') invalidateAll()
  return answer
}

/** Runs what a button does, and shows why when it could not be done. */
const doing = (work) => async (event) => {
  event?.preventDefault()
  $('notice').hidden = true
  try {
    await work(event)
  } catch (error) {
    $('notice').textContent = error.message
    $('notice').hidden = false
  }
}

function button(label, work, attributes = {}) {
  return el('button', { type: 'button', onclick: doing(work), ...attributes }, label)
}

// Lists: loaded by name, loaded again when an event says that they are stale.

const lists = new Map()

function list(name, load, show) {
  lists.set(name, { load, show, loading: false, stale: false })
}

async function invalidate(name) {
  const entry = lists.get(name)
  if (!entry) return
  if (entry.loading) {
    entry.stale = true
    return
  }
  entry.loading = true
  do {
    entry.stale = false
    await doing(async () => entry.show(await entry.load()))()
  } while (entry.stale)
  entry.loading = false
}

function invalidateAll() {
  for (const name of lists.keys()) invalidate(name)
}

function fill(id, nodes, ifEmpty) {
  $(id).replaceChildren(...(nodes.length > 0 ? nodes : [el('li', { class: 'empty' }, ifEmpty)]))
}

const amount = (value) => `$${Number(value).toFixed(2)}`
const badge = (text) => el('span', { class: 'badge', 'data-field': 'status' }, text)

function stockOf(product) {
  const stock = product.stock ?? 0
  const level = stock <= 0 ? 'out' : stock < LOW_STOCK ? 'low' : 'fine'
  return el('span', { class: 'stock', 'data-level': level },
    el('span', { 'data-field': 'stock' }, String(stock)), ' in stock')
}

// Rooms beyond the user's own, which the server joins by itself. Joined anew after each reconnection.

const rooms = new Map()

function enter(message, payload) {
  const key = `${message} ${JSON.stringify(payload)}`
  if (rooms.has(key)) return
  rooms.set(key, { message, payload })
  if (socket.connected) join(message, payload)
}

function leave(message, payload) {
  rooms.delete(`join:${message} ${JSON.stringify(payload)}`)
  if (socket.connected) socket.emit(`leave:${message}`, payload)
}

function join(message, payload) {
  socket.emit(message, payload, (ack) => {
    if (ack.success) return
    $('notice').textContent = `${message} was refused: ${ack.error}`
    $('notice').hidden = false
  })
}

// The buyer.

let openProduct = null

function showBuyer() {
  list('products', () => api('GET', '/api/products'), showShelf)
  list('product', () => openProduct && api('GET', `/api/products/${openProduct}`), showProduct)
  list('orders', () => api('GET', `/api/orders?buyer=${userId}`), (orders) =>
    fill('orders', orders.map((order) => orderRow(order, [
      order.paymentStatus !== 'fully_paid' && button('Pay', () => api('POST', `/api/orders/${order.id}/pay`, {})),
    ])), 'Nothing ordered yet.'))
  list('quotations', () => api('GET', `/api/quotations?buyer=${userId}`), (quotations) =>
    fill('quotations', quotations.map((quotation) => {
      const step = (name) => api('POST', `/api/quotations/${quotation.id}/${name}`, { by: userId })
      const open = ['sent', 'viewed'].includes(quotation.status)
      return quotationRow(quotation, [
        quotation.status === 'sent' && button('View', () => step('view'), { class: 'quiet' }),
        open && button('Accept', () => step('accept')),
        open && button('Reject', () => step('reject'), { class: 'quiet' }),
      ])
    }), 'No quotations.'))
  list('invitations', () => api('GET', `/api/invitations?buyer=${userId}`), (invitations) =>
    fill('invitations', invitations.map((invitation) => {
      const answer = (name) => api('POST', `/api/invitations/${invitation.id}/${name}`, {})
      return invitationRow(invitation, invitation.sellerId, invitation.status === 'pending' && [
        button('Join', () => answer('accept')),
        button('No, thanks', () => answer('reject'), { class: 'quiet' }),
      ])
    }), 'No invitations.'))
}

function showShelf(products) {
  for (const { sellerId } of products) enter('join:storefront', { sellerId })
  $('products').replaceChildren(...products.map((product) =>
    el('article', { class: 'good', 'data-id': product.id },
      el('span', { class: 'store' }, product.sellerId),
      el('h3', {}, product.name),
      el('span', { class: 'price', 'data-field': 'price' }, amount(product.price)),
      stockOf(product),
      el('span', { class: 'actions' }, buyButton(product), button('Look', () => look(product.id), { class: 'quiet' })))))
}

function buyButton(product) {
  const buy = () => api('POST', '/api/orders', { buyerId: userId, items: [{ productId: product.id, quantity: 1 }] })
  return button('Buy', buy, { disabled: (product.stock ?? 0) <= 0 })
}

function look(productId) {
  if (openProduct !== null) leave('product', { productId: openProduct })
  openProduct = productId
  if (productId !== null) enter('join:product', { productId })
  return invalidate('product')
}

function showProduct(product) {
  $('product').hidden = !product
  if (!product) return
  const inCart = (quantity) => api('PUT', '/api/carts/items', { buyerId: userId, productId: product.id, quantity })
  $('product').dataset.id = product.id
  $('product').replaceChildren(
    el('h2', {}, product.name),
    el('p', {}, product.description),
    el('p', {}, el('span', { class: 'price', 'data-field': 'price' }, amount(product.price)), ' · ', stockOf(product)),
    el('span', { class: 'actions' },
      buyButton(product), ' ',
      button('Into the cart', () => inCart(1), { class: 'quiet' }), ' ',
      button('Close', () => look(null), { class: 'quiet' })))
}

// The seller.

const alerts = []

function showSeller(store) {
  enter('join:seller', {})
  list('products', () => api('GET', `/api/products?seller=${store}`), (products) => {
    fill('products', products.map(productRow), 'No products yet.')
    const chosen = $('new-quotation').productId.value
    $('new-quotation').productId.replaceChildren(...products.map((product) =>
      el('option', { value: product.id, selected: product.id === chosen }, product.name)))
  })
  list('orders', () => api('GET', `/api/orders?seller=${store}`), (orders) =>
    fill('orders', orders.map((order) => orderRow(order, [
      order.fulfillmentStatus !== 'fulfilled' && button('Ship', () => api('POST', `/api/orders/${order.id}/ship`, {
        trackingNumber: `TR-${order.id.slice(0, 8)}`,
        carrier: 'Postal service',
      })),
    ])), 'No orders yet.'))
  list('quotations', () => api('GET', `/api/quotations?seller=${store}`), (quotations) =>
    fill('quotations', quotations.map((quotation) => quotationRow(quotation, [
      quotation.status === 'draft' &&
        button('Send', () => api('POST', `/api/quotations/${quotation.id}/send`, { by: userId })),
    ])), 'No quotations.'))
  list('invitations', () => api('GET', `/api/invitations?seller=${store}`), (invitations) =>
    fill('invitations', invitations.map((invitation) => invitationRow(invitation, invitation.buyerEmail)), 'Nobody invited.'))

  showAlerts()
  submits('new-product', (field) =>
    api('POST', '/api/products', {
      sellerId: store, name: field.name, price: field.price, stock: Number(field.stock), status: 'active',
    }))
  submits('new-quotation', (field) => {
    const description = $('new-quotation').productId.selectedOptions[0].textContent
    return api('POST', '/api/quotations', {
      sellerId: store,
      buyerEmail: field.buyerEmail,
      items: [{ description, productId: field.productId, unitPrice: field.unitPrice, quantity: Number(field.quantity) }],
    })
  })
  submits('new-invitation', ({ buyerEmail, buyerName }) =>
    api('POST', '/api/invitations', { sellerId: store, buyerEmail, buyerName }))
}

function submits(id, work) {
  $(id).addEventListener('submit', doing(async () => {
    await work(Object.fromEntries(new FormData($(id))))
    $(id).reset()
  }))
}

function productRow(product) {
  const change = (data) => api('PATCH', `/api/products/${product.id}`, data)
  return el('li', { 'data-id': product.id },
    el('span', {}, product.name),
    badge(product.status),
    el('span', { class: 'price', 'data-field': 'price' }, amount(product.price)),
    stockOf(product),
    button('Restock', () => change({ stock: (product.stock ?? 0) + 20 }), { class: 'quiet' }),
    button('10 % off', () => change({ price: (Number(product.price) * 0.9).toFixed(2) }), { class: 'quiet' }),
    product.status === 'active' ? null : button('Publish', () => change({ status: 'active' })))
}

const alertText = {
  'stock:low': (data) => `${data.productName}: only ${data.currentStock} left`,
  'stock:out': (data) => `${data.productName} is sold out`,
  'stock:restocked': (data) => `${data.productName} is back, ${data.newStock} in stock`,
  'quotation:viewed': (data) => `Quotation ${data.quotationNumber} is being read`,
  'quotation:accepted': (data) => `Quotation ${data.quotationNumber} was accepted`,
  'quotation:rejected': (data) => `Quotation ${data.quotationNumber} was rejected`,
  'wholesale:invitation_accepted': (data) => `${data.buyerEmail} joined your wholesale programme`,
  'wholesale:order_placed': (data) => `Wholesale order over ${amount(data.total)}`,
}

function showAlerts() {
  fill('alerts', alerts.map(({ type, text }) => el('li', { 'data-type': type }, el('span', {}, text))), 'All quiet.')
}

// Rows that both sides see.

function orderRow(order, actions) {
  const goods = order.lines.map((line) => `${line.quantity} × ${line.productName}`).join(', ')
  return el('li', { 'data-id': order.id },
    el('span', {}, goods || order.id),
    el('span', { class: 'price' }, amount(order.total)),
    badge(`${order.status}, ${order.paymentStatus}`),
    ...actions.filter(Boolean))
}

function quotationRow(quotation, actions) {
  const goods = quotation.items.map((item) => `${item.quantity} × ${item.description}`).join(', ')
  return el('li', { 'data-id': quotation.id },
    el('span', {}, `${quotation.quotationNumber}: ${goods}`),
    el('span', { class: 'price' }, amount(quotation.total)),
    badge(quotation.status),
    ...actions.filter(Boolean))
}

function invitationRow(invitation, name, actions) {
  return el('li', { 'data-id': invitation.id }, el('span', {}, name), badge(invitation.status), ...(actions || []))
}

// What arrives.

socket.on('connect', () => {
  setConnection('live')
  for (const { message, payload } of rooms.values()) join(message, payload)
  invalidateAll()
})
socket.on('disconnect', (reason) => setConnection('offline', reason))
socket.on('connect_error', (error) => setConnection('offline', error.message))

for (const type of ['product:created', 'product:updated', 'product:deleted', 'product:stock_changed', 'product:price_changed']) {
  socket.on(type, ({ productId }) => {
    invalidate('products')
    if (productId === openProduct) invalidate('product')
  })
}
socket.on('order:updated', () => invalidate('orders'))

socket.onAny((type, event) => {
  if (type.startsWith('quotation:')) invalidate('quotations')
  if (type.startsWith('wholesale:invitation')) invalidate('invitations')
  if (type === 'rowcast:resync') invalidateAll()
  if (alertText[type] && $('alerts')) {
    alerts.unshift({ type, text: alertText[type](event.data) })
    alerts.length = Math.min(alerts.length, ALERT_LENGTH)
    showAlerts()
  }
  remember(type, event)
})

function remember(type, event) {
  const time = event?.timestamp ? new Date(event.timestamp).toLocaleTimeString() : ''
  $('feed').prepend(el('li', { 'data-type': type },
    el('span', { class: 'time' }, time),
    el('span', { class: 'type' }, type),
    el('span', { class: 'data' }, JSON.stringify(event?.data ?? event))))
  while ($('feed').children.length > FEED_LENGTH) $('feed').lastChild.remove()
}

function setConnection(state, reason) {
  $('connection').dataset.state = state
  $('connection').textContent = reason ? `${state}: ${reason}` : state
}

// The start.

function showAccounts() {
  const accounts = ['buyer-1', 'buyer-2', 'buyer-3', 'buyer-4', 'seller-1', 'seller-2', 'seller-3', 'helper-1']
  $('accounts').replaceChildren(...accounts.map((account) => {
    const target = new URLSearchParams(query)
    target.set('user', account)
    return el('a', { href: `?${target}`, 'aria-current': account === userId && 'page' }, account)
  }))
}

doing(async () => {
  showAccounts()
  const user = await api('GET', `/api/users/${encodeURIComponent(userId)}`)
  $('who').textContent = user.username ?? user.id
  const store = user.stores[0] ?? (user.userType === 'seller' ? user.id : null)
  $('view').append($(store ? 'seller-view' : 'buyer-view').content.cloneNode(true))
  if (store) showSeller(store)
  else showBuyer()
  invalidateAll()
})()
