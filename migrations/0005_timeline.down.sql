-- Undoes 0005. Locks: ACCESS EXCLUSIVE on rowcast.cursor, for a moment.

begin;
set local lock_timeout = '2s';
set local client_min_messages = warning;
alter table rowcast.cursor drop column timeline, drop column era;
delete from rowcast.migration where version = 5;
commit;
