// Who is who, and who of them is online.

export const people = {
  /** User id to name. */
  sellers: new Map(),
  buyers: new Map(),
  /** E-mail to the buyer's id: a quotation may know no more than that. */
  emails: new Map(),
  /** User id to whether they are online. Nothing is known of the others: the server tells of changes alone. */
  online: new Map(),

  /** Takes up what the database holds. */
  load({ sellers, buyers, products }) {
    this.sellers = shopkeepers(sellers, products);
    this.buyers = names(buyers);
    this.emails = new Map(buyers.map(({ email, id }) => [email, String(id)]));
  },

  /** The buyer's id, where one of the two tells it. */
  buyerOf(buyerId, email) {
    return buyerId || this.emails.get(email) || null;
  },

  isOnline(userId) {
    return this.online.get(userId) ?? null;
  },
};

/** A database whose products have no status sells them all. */
export const isOnSale = ({ status }) => status === undefined || status === null || status === 'active';

/** Those who have something on sale; all sellers where nobody has. */
function shopkeepers(sellers, products) {
  const known = names(sellers);
  const ids = new Set(products.filter(isOnSale).map((product) => String(product.sellerId)));
  return ids.size ? new Map([...ids].sort().map((id) => [id, known.get(id) ?? id])) : known;
}

const names = (list) => new Map(list.map(({ id, name }) => [String(id), name ?? String(id)]));
