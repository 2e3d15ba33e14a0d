-- The rows of the benchmark, on top of the marketplace's schema and seed: 200 stores with 500 products each, and some
-- of everything else that the catalog has rules for.

insert into users (id, email, username, user_type)
select 'store-' || n, 'store-' || n || '@example.com', 'Store ' || n, 'seller' from generate_series(0, 199) as n;

insert into products (id, seller_id, name, description, price, sku, category, stock, status)
select 'product-' || n, 'store-' || n % 200, 'Stoneware mug ' || n, 'Thrown by hand, holds 350 ml.', 24.00,
       'SKU-' || n, 'Kitchen', 1000, 'active'
from generate_series(0, 99999) as n
on conflict (id) do update set seller_id = excluded.seller_id, stock = excluded.stock, status = excluded.status;

insert into orders (id, user_id, seller_id, customer_name, customer_email, total, created_at)
select 'bench-order-' || n, 'buyer-' || 1 + n % 5, 'store-' || n % 200, 'Ada', 'ada@example.com', 48.00,
       '2026-01-12T09:30:00.000Z'
from generate_series(1, 5000) as n;

insert into carts (id, seller_id, buyer_id, items)
select 'bench-cart-' || n, 'store-' || n % 200, 'bench-buyer-' || n,
       jsonb_build_array(jsonb_build_object('productId', 'product-' || n, 'quantity', 1))
from generate_series(1, 5000) as n;

insert into trade_quotations (id, seller_id, buyer_email, buyer_id, quotation_number, total)
select 'bench-quotation-' || n, 'store-' || n % 200, 'ada@example.com', 'buyer-1', 'Q-B' || n, 310.00
from generate_series(1, 5000) as n;

insert into wholesale_orders (
    id, order_number, seller_id, buyer_id, subtotal_cents, total_cents, deposit_amount_cents, balance_amount_cents
)
select 'bench-wholesale-' || n, 'W-B' || n, 'store-' || n % 200, 'buyer-4', 124000, 124000, 37200, 86800
from generate_series(1, 5000) as n;

insert into wholesale_payments (id, wholesale_order_id, payment_type, amount_cents)
select 'bench-payment-' || n, 'bench-wholesale-' || n, 'deposit', 37200
from generate_series(1, 5000) as n;

-- What `rowcast check` advises for the lookup of who has a product in their cart.
create index on carts using gin (items jsonb_path_ops);
