//! A story in which every event happens, between the store seller-1 and buyer-1, about product-1.

/// Somebody whose membership was revoked, though their own row still names the store; a product that is the light, and no quotation but those of the story.
pub const BEFORE: &str = "
    insert into users (id, email, username, role, seller_id)
    values ('helper-2', 'helper-2@example.com', 'Ivo', 'customer', 'seller-1');
    insert into user_store_memberships (id, user_id, store_owner_id, access_level, status)
    values ('membership-9', 'helper-2', 'seller-1', 'collaborator', 'revoked');
    insert into products (id, seller_id, name, price, status) values ('lighthouse', 'keeper', 'Lighthouse', 0, 'active');
    insert into trade_quotations (id, seller_id, buyer_email, buyer_id, quotation_number, status)
    values ('quotation-8', 'seller-2', 'buyer-1@example.com', 'buyer-1', 'Q-8', 'sent');";

/// buyer-2 has an open quotation with seller-1, seller-2 has one with buyer-1.
pub const PARTNERS: [&str; 2] = ["buyer-2", "seller-2"];

/// Who types where. In each room two of them, since nobody hears of their own typing. In `sellers` and `buyers` nobody may.
pub const TYPING: [(&str, [&str; 2]); 4] = [
    ("`seller:{id}`", ["seller", "collaborator"]),
    ("`storefront:{id}`", ["buyer", "seller"]),
    ("`product:{id}`", ["buyer", "seller"]),
    ("`product:{id}` of a draft", ["buyer", "seller"]),
];

pub const STATEMENTS: &[&str] = &[
    // Products and stock.
    "insert into products (id, seller_id, name, price, status) values ('product-20', 'seller-1', 'Jug', 9, 'active')",
    "update products set price = 25 where id = 'product-1'",
    "update products set stock = 4 where id = 'product-1'",
    "update products set stock = 0 where id = 'product-1'",
    "update products set stock = 30 where id = 'product-1'",
    // Orders and money.
    "insert into orders (id, user_id, seller_id, customer_name, customer_email, total, created_at)
     values ('order-9', 'buyer-1', 'seller-1', 'Ada', 'buyer-1@example.com', 24, '2026-01-15T10:00:00.000Z')",
    "update orders set amount_paid = 24, payment_status = 'fully_paid' where id = 'order-9'",
    "update orders set status = 'shipped', fulfillment_status = 'fulfilled', tracking_number = 'T-1' where id = 'order-9'",
    "update orders set status = 'delivered' where id = 'order-9'",
    "update orders set payment_status = 'refunded' where id = 'order-9'",
    // Carts.
    r#"update carts set items = '[{"productId": "product-1", "quantity": 5}]' where id = 'cart-1'"#,
    // Wholesale.
    "insert into wholesale_invitations (id, seller_id, buyer_email, buyer_name, status, token)
     values ('invitation-8', 'seller-1', 'buyer-1@example.com', 'Ada', 'pending', 'token-8'),
            ('invitation-9', 'seller-1', 'buyer-1@example.com', 'Ada', 'pending', 'token-9')",
    "update wholesale_invitations set status = 'accepted' where id = 'invitation-8'",
    "update wholesale_invitations set status = 'rejected' where id = 'invitation-9'",
    "insert into orders (id, user_id, seller_id, order_type, customer_name, customer_email, total, payment_type,
       deposit_amount_cents, balance_due_cents, created_at)
     values ('order-8', 'buyer-1', 'seller-1', 'wholesale', 'Ada', 'buyer-1@example.com', 100, 'deposit', 3000, 7000,
       '2026-01-15T10:00:00.000Z')",
    "update orders set payment_status = 'deposit_paid' where id = 'order-8'",
    "update orders set payment_status = 'fully_paid' where id = 'order-8'",
    "update orders set status = 'shipped', tracking_number = 'T-2' where id = 'order-8'",
    // Quotations.
    "insert into trade_quotations (id, seller_id, buyer_email, buyer_id, quotation_number, total, status)
     values ('quotation-5', 'seller-1', 'buyer-1@example.com', 'buyer-1', 'Q-5', 10, 'draft'),
            ('quotation-6', 'seller-1', 'buyer-1@example.com', 'buyer-1', 'Q-6', 10, 'draft'),
            ('quotation-7', 'seller-1', 'buyer-1@example.com', 'buyer-1', 'Q-7', 10, 'draft')",
    "update trade_quotations set status = 'sent' where id in ('quotation-5', 'quotation-6', 'quotation-7')",
    "update trade_quotations set total = 12 where id = 'quotation-5'",
    "update trade_quotations set status = 'viewed' where id = 'quotation-5'",
    "update trade_quotations set status = 'accepted' where id = 'quotation-5'",
    "update trade_quotations set status = 'cancelled' where id = 'quotation-6'",
    "update trade_quotations set status = 'expired' where id = 'quotation-7'",
    // Notifications of every kind, for each of the two.
    "insert into rowcast.notification (id, user_id, seller_id, kind, title)
     select kind || '-' || user_id, user_id, nullif(user_id, 'buyer-1'), kind, 'Hello'
     from unnest(array['order', 'payment', 'shipping', 'wholesale', 'quotation', 'system']) kind,
          unnest(array['buyer-1', 'seller-1']) user_id",
    "update rowcast.notification set read_at = now() where id in ('system-buyer-1', 'system-seller-1')",
    "delete from rowcast.notification where id in ('system-buyer-1', 'system-seller-1')",
];

/// All that can be done to a draft, short of publishing it. Product-13 is one, of seller-1.
pub const OF_A_DRAFT: &str = "
    update products set price = 1 where id = 'product-13';
    update products set stock = 20 where id = 'product-13';
    update products set stock = 3, name = 'Dish' where id = 'product-13';
    update products set stock = 0 where id = 'product-13';
    update products set stock = 9 where id = 'product-13';
    update products set status = 'archived' where id = 'product-13';
    update products set status = 'draft', sku = 'X' where id = 'product-13';
    insert into products (id, seller_id, name, price, status) values ('product-21', 'seller-1', 'Dish', 9, 'draft');
    delete from products where id in ('product-13', 'product-21');";

/// The product goes in the end.
pub const END: &str = "delete from products where id = 'product-1'";
