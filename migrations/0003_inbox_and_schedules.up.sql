-- rowcast 0003: the inbox, what schedules have told, who waits for something, and dead letters that are tried again.
--
-- Everything is in the schema rowcast; no table of the application is touched.
-- Run by `rowcast migrate`, or by hand:  psql -v ON_ERROR_STOP=1 -f migrations/0003_inbox_and_schedules.up.sql
-- Needs: the owner of the schema rowcast. Locks: ACCESS EXCLUSIVE on rowcast.dead_letter for a moment, which nobody but the
-- service uses.

begin;
set local lock_timeout = '2s';
set local statement_timeout = '30s';
set local client_min_messages = warning;

-- The inbox: a row for each notification and user. Rows are written by the service, or by anyone with plain SQL; they are
-- captured like those of any watched table, so every device of the user hears of each.
create table rowcast.notification (
  id         text primary key default gen_random_uuid()::text,
  user_id    text,                                -- whose inbox it lies in
  audience   text,                                -- instead: an announcement, of which each of them gets one of their own
  seller_id  text,                                -- the store that it is for; the store's dashboard hears of it too
  kind       text not null default 'system',      -- order, payment, shipping, wholesale, quotation, system, …
  title      text not null,
  body       text not null default '',
  subject    jsonb,                               -- what it is about: {"type": "order", "id": "…"}
  source     text,                                -- the id of the event, or of the announcement, that it tells of
  created_at timestamptz not null default now(),
  read_at    timestamptz,
  told_to    text,                                -- of an announcement: whose turn was last, in the order of their ids
  told_at    timestamptz,                         -- of an announcement: when all of them had theirs
  constraint notification_has_one_address check ((user_id is null) <> (audience is null)),
  constraint notification_audience check (audience in ('all', 'sellers', 'buyers'))
);
create index notification_by_user on rowcast.notification (user_id, created_at desc, id desc);
create index notification_unread on rowcast.notification (user_id) where read_at is null;
create index notification_by_age on rowcast.notification (created_at);
create index notification_to_tell on rowcast.notification (created_at) where audience is not null and told_at is null;
comment on table rowcast.notification is 'The inbox: one row for each notification and user.';

-- Which notifications have been written, so that a change that is processed again writes none of them again, not even
-- one that was deleted since.
create table rowcast.notified (
  id text primary key,
  at timestamptz not null default now()
);
create index notified_by_age on rowcast.notified (at);
comment on table rowcast.notified is 'Ids of the notifications that have been written; kept for as long as the change log.';

create trigger _rowcast_capture after insert or update or delete on rowcast.notification
for each row execute function rowcast.capture('{"table" : "rowcast.notification", "op" : "ROW"}');
create trigger rowcast_truncate after truncate on rowcast.notification
for each statement execute function rowcast.capture('{"table" : "rowcast.notification", "op" : "TRUNCATE"}');

-- The rows of the catalog's schedules as they were when they were last told.
create table rowcast.told (
  schedule text not null,
  key      text not null,
  row      jsonb not null,
  told_at  timestamptz not null default now(),
  gone_at  timestamptz,                           -- the schedule's SQL returned it no longer
  primary key (schedule, key)
);
create index told_by_end on rowcast.told (gone_at) where gone_at is not null;
create index told_by_age on rowcast.told (schedule, told_at);
comment on table rowcast.told is 'What the schedules of the catalog found last: a row is told again only when it changes.';

-- Compares what a schedule's SQL returned with what was told before, and writes the difference to the change log, as
-- changes of the table rowcast.<schedule>: a row that is new as an insert, one that differs as an update, and, where the
-- result is complete, one that is missing as a delete. `asked_ago` says how many seconds ago a complete result was asked
-- for, so that what another teller has told since isn't taken for missing; it is null for a result that isn't complete.
-- Says how many changes that made. A key that was claimed is left alone: see told_or_claimed.
--
-- One at a time: whoever comes second finds the rows told. The doorbell is rung as capture() rings it. It need not wait
-- for the disk: what a crash loses is told again.
create function rowcast.tell(schedule text, keys text[], found_rows text[], asked_ago double precision) returns integer
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  changes integer;
begin
  if to_regclass(format('rowcast.%I', schedule)) is not null then
    raise exception 'rowcast.% is a table: a schedule can''t be called so', schedule;
  end if;
  perform set_config('synchronous_commit', 'off', true);
  perform pg_advisory_xact_lock(1919907683, 4);

  with found as (
    select distinct on (f.key) f.key, f.row::jsonb as row from unnest(keys, found_rows) as f (key, row)
  ), before as (
    select t.key, t.row from rowcast.told t
    where t.schedule = tell.schedule and t.key = any (keys) and t.gone_at is null
  ), written as (
    insert into rowcast.told as t (schedule, key, row)
    select tell.schedule, f.key, f.row from found f
    on conflict on constraint told_pkey do update set row = excluded.row, told_at = now(), gone_at = null
    where (t.gone_at is not null or t.row <> excluded.row) and t.row <> '{"claimed": true}'
    returning t.key, t.row
  ), gone as (
    update rowcast.told t set gone_at = now()
    where t.schedule = tell.schedule and t.gone_at is null and not t.key = any (keys)
      and t.told_at < clock_timestamp() - make_interval(secs => asked_ago)
    returning t.row
  ), difference (op, old, new) as (
    select case when b.key is null then 'I' else 'U' end, b.row, w.row from written w left join before b using (key)
    union all
    select 'D', g.row, null from gone g
  ), logged as (
    insert into rowcast.change (id, xid, slot, op, at, schema, "table", old, new, actor)
    select nextval('rowcast.change_id'), pg_current_xact_id(), coalesce(pg_sequence_last_value('rowcast.slot'), 0),
           d.op::"char", clock_timestamp(), 'rowcast', tell.schedule, d.old::json, d.new::json, null
    from difference d
    returning 1
  )
  select count(*) into changes from logged;

  if changes > 0 and not pg_try_advisory_xact_lock_shared(1919907683, 1) then
    if pg_notification_queue_usage() < 0.5 and current_setting('max_prepared_transactions') = '0' then
      perform pg_notify('rowcast', json_build_object('table', 'rowcast.' || tell.schedule, 'op', 'ROW')::text);
    end if;
  end if;
  return changes;
end
$$;
revoke all on function rowcast.tell(text, text[], text[], double precision) from public;
comment on function rowcast.tell(text, text[], text[], double precision) is 'Writes what is new in a schedule''s result to the change log.';

-- Which of these keys has been told by a schedule that tells each once: for a lookup of somebody who is about to tell the
-- same, of a row that changed. What was not told is claimed, so that the schedule never tells it, though it may have read
-- the row before it changed; asked again for the same key the answer is the same. In a read-only transaction nothing is
-- claimed.
create function rowcast.told_or_claimed(schedule text, keys text[]) returns table (key text)
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
begin
  if current_setting('transaction_read_only') = 'off' then
    insert into rowcast.told (schedule, key, row)
    select told_or_claimed.schedule, k.key, '{"claimed": true}'
    from (select distinct unnest(told_or_claimed.keys)) as k (key) where k.key is not null order by k.key
    on conflict do nothing;
  end if;
  return query
  select t.key from rowcast.told t
  where t.schedule = told_or_claimed.schedule and t.key = any (told_or_claimed.keys) and t.row <> '{"claimed": true}';
end
$$;
revoke all on function rowcast.told_or_claimed(text, text[]) from public;
comment on function rowcast.told_or_claimed(text, text[]) is 'What a schedule has told; the rest it will not tell any more.';

-- Who came to a room for something that wasn't there, so that they can be told when it is.
create table rowcast.waiting (
  list    text not null,                          -- the catalog's name for it
  id      text not null,                          -- of the room: the product's id
  user_id text not null,
  at      timestamptz not null,                   -- since when
  told_at timestamptz,                            -- of which moment they were told
  primary key (list, id, user_id)
);
create index waiting_by_age on rowcast.waiting (at);
comment on table rowcast.waiting is 'Users who wait for something, such as a product that is out of stock.';

-- Who waits, for a lookup. A key is TIME@ID: what is waited for was written at that time. It is there once that
-- transaction has committed, which may be long after, so it is asked when the commit is seen: all who wait then are marked
-- as told of that moment, so that they aren't told of the next; asked again for the same key it gives them again. In a
-- read-only transaction nobody is marked: it gives those who were told, and those who would be for certain.
create function rowcast.waiting_for(list text, keys text[]) returns table (key text, user_id text)
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
begin
  if current_setting('transaction_read_only') = 'off' then
    update rowcast.waiting w set told_at = wanted.at
    from (select split_part(k.key, '@', 1)::timestamptz as at, substr(k.key, strpos(k.key, '@') + 1) as id
          from unnest(waiting_for.keys) as k (key)) as wanted
    where w.list = waiting_for.list and w.id = wanted.id and w.told_at is null and w.at <= clock_timestamp();
  end if;
  return query
  select wanted.key, w.user_id
  from (select k.key, split_part(k.key, '@', 1)::timestamptz as at, substr(k.key, strpos(k.key, '@') + 1) as id
        from unnest(waiting_for.keys) as k (key)) as wanted
  join rowcast.waiting w on w.list = waiting_for.list and w.id = wanted.id
       and (w.told_at = wanted.at or w.told_at is null and w.at <= wanted.at);
end
$$;
revoke all on function rowcast.waiting_for(text, text[]) from public;
comment on function rowcast.waiting_for(text, text[]) is 'Who waits for what has come; for the lookups of the catalog.';

create or replace function rowcast.grant_gateway(role regrole) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
  execute format('grant usage on schema rowcast to %s', role);
  execute format('grant select on all tables in schema rowcast to %s', role);
  execute format('grant select on all sequences in schema rowcast to %s', role);
  execute format('grant update on rowcast.cursor to %s', role);
  execute format('grant insert, update, delete on rowcast.dead_letter, rowcast.notification, rowcast.notified, '
                 'rowcast.told, rowcast.waiting to %s', role);
  execute format('grant execute on function rowcast.rotate(interval, bigint), rowcast.start_anew(interval), '
                 'rowcast.tell(text, text[], text[], double precision), rowcast.told_or_claimed(text, text[]), '
                 'rowcast.waiting_for(text, text[]) to %s', role);
end
$$;

-- Those who were let in before need what is new too.
select rowcast.grant_gateway(privilege.grantee::regrole)
from pg_catalog.pg_class c cross join lateral aclexplode(c.relacl) privilege
where c.oid = 'rowcast.cursor'::regclass and privilege.privilege_type = 'UPDATE'
  and privilege.grantee not in (0, c.relowner);

-- A dead letter can be tried again.
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
create trigger _rowcast_capture after update of asked_at on rowcast.dead_letter
for each row when (new.asked_at is distinct from old.asked_at and new.asked_at is not null)
execute function rowcast.capture('{"table" : "rowcast.dead_letter", "op" : "ROW"}');

insert into rowcast.migration (version, name) values (3, 'inbox_and_schedules');
commit;
