-- rowcast 0005: which past the positions of clients belong to.
--
-- A replica that is promoted has the same system identifier, and may lack what its primary had committed last; then it
-- hands out the same transaction ids to others. The timeline of its write-ahead log tells it from that primary. Whenever the
-- past has become another one, an era begins, and no position of an earlier era is good for a replay.
-- Locks: ACCESS EXCLUSIVE on rowcast.cursor, for a moment; none on the application's tables.

begin;
set local lock_timeout = '2s';
set local client_min_messages = warning;

alter table rowcast.cursor add column timeline integer, add column era integer not null default 0;
comment on column rowcast.cursor.timeline is 'Of the write-ahead log, when the cursor was claimed last; null if the server does not tell.';
comment on column rowcast.cursor.era is 'Drawn at random when a failover or a restored backup has made the past another one.';

insert into rowcast.migration (version, name) values (5, 'timeline');
commit;
