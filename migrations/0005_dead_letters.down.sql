-- Undoes 0005. Letters stay; those that wait to be tried again are forgotten as such.

begin;
set local lock_timeout = '2s';
set local statement_timeout = '30s';
set local client_min_messages = warning;

drop trigger rowcast_capture on rowcast.dead_letter;
drop index rowcast.dead_letter_by_rule;
drop index rowcast.dead_letter_by_age;
alter table rowcast.dead_letter drop column attempts, drop column asked_at;

delete from rowcast.migration where version = 5;
commit;
