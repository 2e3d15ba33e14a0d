-- A multi-seller marketplace, as an application with Prisma would keep it.
-- Loads into an empty database with psql alone:
--   psql -v ON_ERROR_STOP=1 -d DATABASE -f schema.sql -f seed.sql

CREATE TYPE user_type AS ENUM ('seller', 'buyer');

CREATE TYPE wholesale_order_status AS ENUM (
    'pending', 'deposit_paid', 'awaiting_balance', 'balance_overdue',
    'ready_to_release', 'in_production', 'fulfilled', 'cancelled'
);

CREATE TYPE wholesale_payment_type AS ENUM ('deposit', 'balance');

CREATE TYPE wholesale_payment_status AS ENUM (
    'pending', 'requested', 'paid', 'failed', 'cancelled', 'overdue'
);

CREATE TYPE trade_quotation_status AS ENUM (
    'draft', 'sent', 'viewed', 'accepted', 'rejected', 'deposit_paid', 'balance_due',
    'fully_paid', 'completed', 'cancelled', 'expired'
);

-- People and their stores. A store is its owner's user id.

CREATE TABLE users (
    id varchar PRIMARY KEY DEFAULT gen_random_uuid(),
    email varchar NOT NULL UNIQUE,
    username varchar,
    role text NOT NULL DEFAULT 'customer',      -- customer, seller, owner, ...
    user_type user_type,
    seller_id varchar,                          -- the store that a team member works for
    is_platform_admin integer NOT NULL DEFAULT 0
);

CREATE TABLE user_store_memberships (
    id varchar PRIMARY KEY DEFAULT gen_random_uuid(),
    user_id varchar NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    store_owner_id varchar NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    access_level text NOT NULL DEFAULT 'collaborator',  -- owner, collaborator
    status text NOT NULL DEFAULT 'active',              -- active, revoked
    UNIQUE (user_id, store_owner_id)
);

-- Written by connect-pg-simple; sess is {"cookie": ..., "passport": {"user": ...}}.
CREATE TABLE sessions (
    sid varchar PRIMARY KEY,
    sess jsonb NOT NULL,
    expire timestamp(6) NOT NULL
);

CREATE INDEX sessions_expire_idx ON sessions (expire);

-- The catalogue. No created_at and no updated_at, on purpose.

CREATE TABLE products (
    id varchar PRIMARY KEY DEFAULT gen_random_uuid(),
    seller_id varchar NOT NULL,
    name text NOT NULL,
    description text NOT NULL DEFAULT '',
    price numeric(10, 2) NOT NULL,
    sku varchar,
    image text NOT NULL DEFAULT '',
    images text [],
    category text,
    category_level_1_id varchar,
    category_level_2_id varchar,
    category_level_3_id varchar,
    product_type text NOT NULL DEFAULT 'in-stock',  -- in-stock, pre-order, made-to-order, wholesale
    stock integer DEFAULT 0,
    deposit_amount numeric(10, 2),
    requires_deposit integer DEFAULT 0,
    variants jsonb,                                 -- [{size, color, stock, image, sku}]
    discount_percentage numeric(5, 2),
    promotion_active integer DEFAULT 0,
    promotion_end_date timestamptz,
    shipping_type text,
    flat_shipping_rate numeric(10, 2),
    status text DEFAULT 'draft'                     -- active, draft, coming-soon, paused, out-of-stock, archived
);

CREATE INDEX products_seller_id_idx ON products (seller_id);

-- Retail. created_at is text, and a guest's order has no user.

CREATE TABLE orders (
    id varchar PRIMARY KEY DEFAULT gen_random_uuid(),
    user_id varchar,
    seller_id varchar,
    order_type text NOT NULL DEFAULT 'retail',      -- retail, wholesale
    customer_name text NOT NULL,
    customer_email text NOT NULL,
    customer_address text,
    items text NOT NULL DEFAULT '[]',               -- JSON
    total numeric(10, 2) NOT NULL,
    amount_paid numeric(10, 2) DEFAULT 0,
    remaining_balance numeric(10, 2) DEFAULT 0,
    payment_type text DEFAULT 'full',               -- full, deposit, balance
    payment_status text DEFAULT 'pending',          -- pending, deposit_paid, fully_paid, refunded, partially_refunded
    status text NOT NULL DEFAULT 'pending',         -- pending, processing, shipped, delivered, cancelled
    fulfillment_status text DEFAULT 'unfulfilled',  -- unfulfilled, partially_fulfilled, fulfilled
    tracking_number text,
    tracking_link text,
    currency char(3) DEFAULT 'USD',
    shipping_cost numeric(10, 2) DEFAULT 0,
    shipping_carrier text,
    deposit_amount_cents integer,
    balance_due_cents integer,
    balance_paid_at timestamptz,
    created_at text NOT NULL
);

CREATE INDEX orders_user_id_idx ON orders (user_id);
CREATE INDEX orders_seller_id_idx ON orders (seller_id);

CREATE TABLE order_items (
    id varchar PRIMARY KEY DEFAULT gen_random_uuid(),
    order_id varchar NOT NULL REFERENCES orders (id) ON DELETE CASCADE,
    product_id varchar NOT NULL,
    product_name text NOT NULL,
    quantity integer NOT NULL,
    price numeric(10, 2) NOT NULL,
    subtotal numeric(10, 2) NOT NULL,
    item_status text NOT NULL DEFAULT 'pending'
);

CREATE INDEX order_items_order_id_idx ON order_items (order_id);

-- One cart per buyer and seller; items are {productId, quantity, variant} objects.

CREATE TABLE carts (
    id varchar PRIMARY KEY DEFAULT gen_random_uuid(),
    seller_id varchar NOT NULL,
    buyer_id varchar,                               -- null for guests
    items jsonb NOT NULL DEFAULT '[]',
    status text NOT NULL DEFAULT 'active',
    updated_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (buyer_id, seller_id)
);

-- Wholesale: a seller invites a buyer, who then orders with a deposit and a balance.

CREATE TABLE wholesale_invitations (
    id varchar PRIMARY KEY DEFAULT gen_random_uuid(),
    seller_id varchar NOT NULL,
    buyer_email text NOT NULL,
    buyer_name text,
    status text NOT NULL DEFAULT 'pending',         -- pending, accepted, rejected, expired, cancelled
    token varchar NOT NULL UNIQUE DEFAULT gen_random_uuid(),
    wholesale_terms jsonb,
    expires_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT now(),
    accepted_at timestamptz
);

CREATE INDEX wholesale_invitations_seller_id_idx ON wholesale_invitations (seller_id);

CREATE TABLE wholesale_orders (
    id varchar PRIMARY KEY DEFAULT gen_random_uuid(),
    order_number varchar NOT NULL UNIQUE,
    seller_id varchar NOT NULL,
    buyer_id varchar NOT NULL,
    status wholesale_order_status NOT NULL DEFAULT 'pending',
    subtotal_cents integer NOT NULL,
    total_cents integer NOT NULL,
    deposit_amount_cents integer NOT NULL,
    balance_amount_cents integer NOT NULL,
    currency varchar(3) NOT NULL DEFAULT 'USD',
    payment_terms text DEFAULT 'Net 30',
    buyer_email text,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
);

CREATE INDEX wholesale_orders_seller_id_idx ON wholesale_orders (seller_id);

CREATE TABLE wholesale_payments (
    id varchar PRIMARY KEY DEFAULT gen_random_uuid(),
    wholesale_order_id varchar NOT NULL REFERENCES wholesale_orders (id) ON DELETE CASCADE,
    payment_type wholesale_payment_type NOT NULL,
    status wholesale_payment_status NOT NULL DEFAULT 'pending',
    amount_cents integer NOT NULL,
    paid_at timestamptz
);

CREATE INDEX wholesale_payments_order_id_idx ON wholesale_payments (wholesale_order_id);

-- Trade quotations.

CREATE TABLE trade_quotations (
    id varchar PRIMARY KEY DEFAULT gen_random_uuid(),
    seller_id varchar NOT NULL,
    buyer_email text NOT NULL,
    buyer_id varchar,
    quotation_number varchar NOT NULL UNIQUE,
    currency varchar(3) NOT NULL DEFAULT 'USD',
    subtotal numeric(10, 2) NOT NULL DEFAULT 0,
    tax_amount numeric(10, 2) NOT NULL DEFAULT 0,
    shipping_amount numeric(10, 2) NOT NULL DEFAULT 0,
    total numeric(10, 2) NOT NULL DEFAULT 0,
    deposit_amount numeric(10, 2) NOT NULL DEFAULT 0,
    deposit_percentage numeric(5, 2) NOT NULL DEFAULT 0,
    balance_amount numeric(10, 2) NOT NULL DEFAULT 0,
    status trade_quotation_status NOT NULL DEFAULT 'draft',
    order_id varchar,
    valid_until timestamptz,
    metadata jsonb,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
);

CREATE INDEX trade_quotations_seller_id_idx ON trade_quotations (seller_id);

CREATE TABLE trade_quotation_items (
    id varchar PRIMARY KEY DEFAULT gen_random_uuid(),
    quotation_id varchar NOT NULL REFERENCES trade_quotations (id) ON DELETE CASCADE,
    line_number integer NOT NULL,
    description text NOT NULL,
    product_id varchar,
    unit_price numeric(10, 2) NOT NULL,
    quantity integer NOT NULL,
    line_total numeric(10, 2) NOT NULL
);

CREATE INDEX trade_quotation_items_quotation_id_idx ON trade_quotation_items (quotation_id);

CREATE TABLE trade_quotation_events (
    id varchar PRIMARY KEY DEFAULT gen_random_uuid(),
    quotation_id varchar NOT NULL REFERENCES trade_quotations (id) ON DELETE CASCADE,
    event_type text NOT NULL,
    performed_by varchar,
    payload jsonb,
    created_at timestamptz NOT NULL DEFAULT now()
);

CREATE INDEX trade_quotation_events_quotation_id_idx ON trade_quotation_events (quotation_id);
