-- rowcast 0002: watches the marketplace's tables, those that exist; a table that comes later is watched by
-- `rowcast watch TABLE`, or by select rowcast.watch('public.TABLE').
--
-- Each statement is a transaction of its own: it holds SHARE ROW EXCLUSIVE on one table for a moment (readers go on,
-- writers wait), and gives up after two seconds behind a long transaction. Safe to run again.

set lock_timeout = '2s';
select relation, rowcast.watch(relation) from to_regclass('public.products') as relation where relation is not null;
select relation, rowcast.watch(relation) from to_regclass('public.wholesale_invitations') as relation where relation is not null;
select relation, rowcast.watch(relation) from to_regclass('public.trade_quotations') as relation where relation is not null;
select relation, rowcast.watch(relation) from to_regclass('public.orders') as relation where relation is not null;
select relation, rowcast.watch(relation) from to_regclass('public.carts') as relation where relation is not null;
select relation, rowcast.watch(relation) from to_regclass('public.wholesale_orders') as relation where relation is not null;
select relation, rowcast.watch(relation) from to_regclass('public.wholesale_payments') as relation where relation is not null;
insert into rowcast.migration (version, name) values (2, 'watch_marketplace') on conflict do nothing;
reset lock_timeout;
