-- Undoes 0003: the inbox with all notifications, what schedules have told, and who waits. Locks: none on the
-- application's tables.

begin;
set local lock_timeout = '2s';
set local client_min_messages = warning;
drop table rowcast.notification, rowcast.notified, rowcast.told, rowcast.waiting;
drop function rowcast.tell(text, text[], text[], double precision);
drop function rowcast.told_or_claimed(text, text[]);
drop function rowcast.waiting_for(text, text[]);

create or replace function rowcast.grant_gateway(role regrole) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
  execute format('grant usage on schema rowcast to %s', role);
  execute format('grant select on all tables in schema rowcast to %s', role);
  execute format('grant select on all sequences in schema rowcast to %s', role);
  execute format('grant update on rowcast.cursor to %s', role);
  execute format('grant insert, update, delete on rowcast.dead_letter to %s', role);
  execute format('grant execute on function rowcast.rotate(interval, bigint), rowcast.start_anew(interval) to %s', role);
end
$$;

drop trigger _rowcast_capture on rowcast.dead_letter;
drop index rowcast.dead_letter_by_rule;
drop index rowcast.dead_letter_by_age;
alter table rowcast.dead_letter drop column attempts, drop column asked_at;

delete from rowcast.migration where version = 3;
commit;
