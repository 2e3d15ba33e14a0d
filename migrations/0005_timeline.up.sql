-- rowcast 0005: which server the cursor was last claimed on.
--
-- A replica that is promoted has the same system identifier, and may lack what its primary had committed last. The
-- timeline of its write-ahead log tells it from that primary.
-- Locks: ACCESS EXCLUSIVE on rowcast.cursor, for a moment; none on the application's tables.

begin;
set local lock_timeout = '2s';
set local client_min_messages = warning;

alter table rowcast.cursor add column timeline integer;
comment on column rowcast.cursor.timeline is 'Of the write-ahead log, when the cursor was claimed last; null if the server does not tell.';

insert into rowcast.migration (version, name) values (5, 'timeline');
commit;
