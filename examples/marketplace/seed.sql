-- Sample rows for schema.sql: three stores, five buyers, their goods and their dealings.

INSERT INTO users (id, email, username, role, user_type, seller_id, is_platform_admin) VALUES
('seller-1', 'seller-1@example.com', 'Juniper & Clay', 'seller', 'seller', NULL, 0),
('seller-2', 'seller-2@example.com', 'North Loom', 'seller', 'seller', NULL, 0),
('seller-3', 'seller-3@example.com', 'Harbour Roasters', 'owner', 'seller', NULL, 0),
('helper-1', 'helper-1@example.com', 'Hana', 'customer', NULL, 'seller-1', 0),
('buyer-1', 'buyer-1@example.com', 'Ada', 'customer', 'buyer', NULL, 0),
('buyer-2', 'buyer-2@example.com', 'Bruno', 'customer', 'buyer', NULL, 0),
('buyer-3', 'buyer-3@example.com', 'Chidi', 'customer', 'buyer', NULL, 0),
('buyer-4', 'buyer-4@example.com', 'Dalia', 'customer', 'buyer', NULL, 0),
('buyer-5', 'buyer-5@example.com', 'Emeka', 'customer', 'buyer', NULL, 0),
('admin-1', 'admin-1@example.com', 'Platform admin', 'owner', NULL, NULL, 1);

INSERT INTO user_store_memberships (id, user_id, store_owner_id, access_level, status) VALUES
('membership-1', 'seller-1', 'seller-1', 'owner', 'active'),
('membership-2', 'seller-2', 'seller-2', 'owner', 'active'),
('membership-3', 'seller-3', 'seller-3', 'owner', 'active'),
('membership-4', 'helper-1', 'seller-1', 'collaborator', 'active');

INSERT INTO products (id, seller_id, name, description, price, sku, category, product_type, stock, status, variants) VALUES
('product-1', 'seller-1', 'Stoneware mug, speckled', 'Thrown by hand, holds 350 ml.', 24.00, 'JC-MUG', 'Kitchen', 'in-stock', 18, 'active', NULL),
('product-2', 'seller-1', 'Serving bowl, celadon', 'Wide and low, 28 cm.', 68.00, 'JC-BOWL', 'Kitchen', 'in-stock', 11, 'active', NULL),
('product-3', 'seller-1', 'Bud vase, set of three', 'Three heights, one glaze.', 45.50, 'JC-VASE', 'Home', 'in-stock', 7, 'active', NULL),
('product-4', 'seller-1', 'Teapot with bamboo handle', 'Pours without a drip.', 92.00, 'JC-TEA', 'Kitchen', 'made-to-order', 3, 'active', NULL),
('product-5', 'seller-2', 'Lambswool throw, ochre', 'Woven on a dobby loom, 140 by 190 cm.', 139.00, 'NL-THROW', 'Textiles', 'in-stock', 14, 'active', NULL),
('product-6', 'seller-2', 'Linen apron', 'Crossed straps, two pockets.', 54.00, 'NL-APRON', 'Textiles', 'in-stock', 26, 'active',
 '[{"size": "S", "color": "slate", "stock": 12, "sku": "NL-APRON-S"}, {"size": "M", "color": "slate", "stock": 14, "sku": "NL-APRON-M"}]'),
('product-7', 'seller-2', 'Waffle towel, pair', 'Dries fast, gets softer.', 38.00, 'NL-TOWEL', 'Textiles', 'in-stock', 40, 'active', NULL),
('product-8', 'seller-2', 'Merino scarf, tidal', 'Forty shades of blue.', 76.00, 'NL-SCARF', 'Textiles', 'pre-order', 10, 'active', NULL),
('product-9', 'seller-3', 'Espresso blend, 1 kg', 'Cocoa, walnut, a long finish.', 29.90, 'HR-ESP', 'Coffee', 'in-stock', 35, 'active', NULL),
('product-10', 'seller-3', 'Filter roast Guji, 250 g', 'Washed; jasmine and apricot.', 14.50, 'HR-GUJI', 'Coffee', 'in-stock', 22, 'active', NULL),
('product-11', 'seller-3', 'Pour-over kettle', 'Gooseneck, 900 ml.', 59.00, 'HR-KET', 'Coffee', 'in-stock', 9, 'active', NULL),
('product-12', 'seller-3', 'Café crate, 12 kg', 'For shops; ground or whole.', 310.00, 'HR-CRATE', 'Coffee', 'wholesale', 16, 'active', NULL),
('product-13', 'seller-1', 'Butter dish (working title)', 'Lid still cracks in the kiln.', 31.00, 'JC-DISH', 'Kitchen', 'in-stock', 0, 'draft', NULL),
('product-14', 'seller-2', 'Picnic rug', 'Backing to be decided.', 118.00, 'NL-RUG', 'Textiles', 'in-stock', 5, 'draft', NULL);

INSERT INTO carts (id, seller_id, buyer_id, items, status) VALUES
('cart-1', 'seller-1', 'buyer-1', '[{"productId": "product-1", "quantity": 2}]', 'active'),
('cart-2', 'seller-2', 'buyer-1', '[{"productId": "product-6", "quantity": 1, "variant": {"size": "M", "color": "slate"}}]', 'active'),
('cart-3', 'seller-1', 'buyer-2', '[{"productId": "product-1", "quantity": 1}, {"productId": "product-3", "quantity": 1}]', 'active'),
('cart-4', 'seller-3', 'buyer-3', '[{"productId": "product-11", "quantity": 1}]', 'active'),
('cart-5', 'seller-1', NULL, '[{"productId": "product-2", "quantity": 1}]', 'active');

INSERT INTO orders (
    id, user_id, seller_id, order_type, customer_name, customer_email, customer_address, items,
    total, amount_paid, payment_status, status, fulfillment_status, created_at
) VALUES
('order-1', 'buyer-1', 'seller-1', 'retail', 'Ada', 'buyer-1@example.com', '1 Mill Lane',
 '[{"productId": "product-1", "quantity": 2}]', 48.00, 48.00, 'fully_paid', 'processing', 'unfulfilled', '2026-01-12T09:30:00.000Z'),
('order-2', 'buyer-2', 'seller-2', 'retail', 'Bruno', 'buyer-2@example.com', '2 Canal Row',
 '[{"productId": "product-7", "quantity": 1}]', 38.00, 0.00, 'pending', 'pending', 'unfulfilled', '2026-01-14T16:05:00.000Z');

INSERT INTO order_items (id, order_id, product_id, product_name, quantity, price, subtotal) VALUES
('order-item-1', 'order-1', 'product-1', 'Stoneware mug, speckled', 2, 24.00, 48.00),
('order-item-2', 'order-2', 'product-7', 'Waffle towel, pair', 1, 38.00, 38.00);

INSERT INTO wholesale_invitations (id, seller_id, buyer_email, buyer_name, status, token, wholesale_terms, expires_at, accepted_at) VALUES
('invitation-1', 'seller-3', 'buyer-4@example.com', 'Dalia', 'accepted', 'token-1',
 '{"minimumOrder": "500.00", "discountPercentage": 20}', now() + interval '30 days', now() - interval '2 days'),
('invitation-2', 'seller-3', 'buyer-5@example.com', 'Emeka', 'pending', 'token-2',
 '{"minimumOrder": "300.00", "discountPercentage": 15}', now() + interval '30 days', NULL),
('invitation-3', 'seller-1', 'cafe@example.org', 'Corner Café', 'pending', 'token-3',
 '{"minimumOrder": "200.00"}', now() + interval '14 days', NULL);

INSERT INTO wholesale_orders (
    id, order_number, seller_id, buyer_id, status, subtotal_cents, total_cents,
    deposit_amount_cents, balance_amount_cents, buyer_email
) VALUES
('wholesale-1', 'W-1001', 'seller-3', 'buyer-4', 'pending', 124000, 124000, 37200, 86800, 'buyer-4@example.com');

INSERT INTO wholesale_payments (id, wholesale_order_id, payment_type, status, amount_cents) VALUES
('payment-1', 'wholesale-1', 'deposit', 'requested', 37200),
('payment-2', 'wholesale-1', 'balance', 'pending', 86800);

INSERT INTO trade_quotations (
    id, seller_id, buyer_email, buyer_id, quotation_number, subtotal, tax_amount, shipping_amount, total,
    deposit_amount, deposit_percentage, balance_amount, status, valid_until
) VALUES
('quotation-1', 'seller-1', 'buyer-2@example.com', 'buyer-2', 'Q-1001', 480.00, 0.00, 20.00, 500.00, 150.00, 30.00, 350.00, 'sent', now() + interval '14 days'),
('quotation-2', 'seller-1', 'buyer-3@example.com', NULL, 'Q-1002', 272.00, 0.00, 0.00, 272.00, 0.00, 0.00, 272.00, 'draft', now() + interval '14 days'),
('quotation-3', 'seller-2', 'buyer-4@example.com', 'buyer-4', 'Q-1003', 540.00, 54.00, 0.00, 594.00, 0.00, 0.00, 594.00, 'draft', now() + interval '7 days');

INSERT INTO trade_quotation_items (id, quotation_id, line_number, description, product_id, unit_price, quantity, line_total) VALUES
('quotation-item-1', 'quotation-1', 1, 'Stoneware mug, speckled', 'product-1', 20.00, 24, 480.00),
('quotation-item-2', 'quotation-2', 1, 'Serving bowl, celadon', 'product-2', 68.00, 4, 272.00),
('quotation-item-3', 'quotation-3', 1, 'Linen apron', 'product-6', 54.00, 10, 540.00);

INSERT INTO trade_quotation_events (quotation_id, event_type, performed_by) VALUES
('quotation-1', 'created', 'seller-1'),
('quotation-1', 'sent', 'seller-1'),
('quotation-2', 'created', 'seller-1'),
('quotation-3', 'created', 'seller-2');
