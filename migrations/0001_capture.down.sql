-- Undoes 0001: takes the triggers off every watched table, and drops the schema with all that is in it.
-- Locks: ACCESS EXCLUSIVE on one watched table at a time, for a moment, given up after two seconds: then run it again.
-- Each table is a transaction of its own, so psql must not be told to make one of all (-1).

set lock_timeout = '2s';
do $$
declare
  relation regclass;
begin
  for relation in select w.relation from rowcast.watched w loop
    perform rowcast.unwatch(relation);
    commit;
  end loop;
end
$$;
begin;
set local client_min_messages = warning;
drop schema rowcast cascade;
commit;
reset lock_timeout;
