-- rowcast 0005: a dead letter can be tried again.
--
-- Everything is in the schema rowcast; no table of the application is touched.
-- Run by `rowcast migrate`, or by hand:  psql -v ON_ERROR_STOP=1 -f migrations/0005_dead_letters.up.sql
-- Needs: the owner of the schema rowcast. Locks: ACCESS EXCLUSIVE on rowcast.dead_letter for a moment; nobody but the
-- service uses it.

begin;
set local lock_timeout = '2s';
set local statement_timeout = '30s';
set local client_min_messages = warning;

alter table rowcast.dead_letter
  add column attempts integer not null default 1,  -- how often the rule has failed on it
  add column asked_at timestamptz;                  -- somebody wants it tried again, and it has not been yet
-- Nobody but the service writes here, and the table is small.
-- squawk-ignore require-concurrent-index-creation
create index dead_letter_by_rule on rowcast.dead_letter (rule, id);
-- squawk-ignore require-concurrent-index-creation
create index dead_letter_by_age on rowcast.dead_letter (at);

-- To be tried again is a change like any other: it is logged and swept, so that there is one way to the clients, and
-- whoever is away hears of it later.
create trigger rowcast_capture after update of asked_at on rowcast.dead_letter
for each row when (new.asked_at is distinct from old.asked_at and new.asked_at is not null)
execute function rowcast.capture('{"table" : "rowcast.dead_letter", "op" : "ROW"}');

insert into rowcast.migration (version, name) values (5, 'dead_letters');
commit;
