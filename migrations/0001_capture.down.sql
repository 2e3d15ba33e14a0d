-- Undoes 0001: takes the triggers off every watched table, and the schema with all that is in it.
-- Lock: ACCESS EXCLUSIVE on each watched table, for a moment, given up after two seconds: then run it again.

begin;
set local lock_timeout = '2s';
set local client_min_messages = warning;
select rowcast.unwatch(relation) from rowcast.watched;
drop schema rowcast cascade;
commit;
