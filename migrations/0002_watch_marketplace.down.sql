-- Undoes 0002: takes the triggers off the marketplace's tables. Tables watched by hand stay watched.

set lock_timeout = '2s';
select relation, rowcast.unwatch(relation) from rowcast.watched
where schema = 'public' and "table" in ('products', 'wholesale_invitations', 'trade_quotations', 'orders', 'carts',
                                        'wholesale_orders', 'wholesale_payments');
delete from rowcast.migration where version = 2;
reset lock_timeout;
