-- Undoes 0002: takes the triggers off the marketplace's tables. Tables watched by hand stay watched.
-- Lock: ACCESS EXCLUSIVE on one table at a time, for a moment, given up after two seconds: then run it again.
-- Each table is a transaction of its own, so psql must not be told to make one of all (-1).

set lock_timeout = '2s';
do $$
declare
  relation regclass;
begin
  for relation in
    select w.relation from rowcast.watched w
    where w.schema = 'public' and w."table" in ('products', 'wholesale_invitations', 'trade_quotations', 'orders', 'carts',
                                                'wholesale_orders', 'wholesale_payments')
  loop
    perform rowcast.unwatch(relation);
    commit;
  end loop;
end
$$;
delete from rowcast.migration where version = 2;
reset lock_timeout;
