-- rowcast 0001: the change log, its doorbell and its cursor.
--
-- Everything lives in the schema rowcast; no table of the application is touched here (0002 does that).
-- Run by `rowcast migrate`, or by hand:  psql -v ON_ERROR_STOP=1 -f migrations/0001_capture.up.sql
-- Needs: CREATE on the database. Locks: none on tables that exist already.

begin;
set local lock_timeout = '2s';
set local statement_timeout = '30s';
set local client_min_messages = warning;

-- Such a publication would have this schema in it, and its subscribers stop at the first change of a table that they lack.
do $$
declare
  publications text := (select string_agg(quote_ident(pubname), ', ' order by pubname) from pg_publication where puballtables);
begin
  if publications is not null and current_setting('rowcast.published', true) is distinct from 'on' then
    raise exception 'FOR ALL TABLES is what is published by %: subscribers without the schema rowcast would stop', publications
      using hint = 'Name the tables of the publication; or, where its subscribers can do with the tables of rowcast, '
                   'run `rowcast migrate --published`, with psql: set rowcast.published = on.';
  end if;
end
$$;

create schema if not exists rowcast;
revoke all on schema rowcast from public;

create table if not exists rowcast.migration (
  version    integer primary key,
  name       text not null,
  applied_at timestamptz not null default now(),
  applied_by text not null default current_user
);
comment on table rowcast.migration is 'Which files of migrations/ have been applied; each file records itself.';

-- The truth about what happened: one row for each row that a committed transaction inserted, updated or deleted, and
-- one for each TRUNCATE. It has no unique index, so that not even a sequence that was set back can fail a writer.
--
-- Three slots take turns: writers fill one, and rowcast.rotate() truncates those that are past the retention, by age or
-- by size. Space comes back at once and the table never bloats.
create table rowcast.change (
  id         bigint not null,       -- grows with the order of one row's changes: the row's lock orders its writers
  xid        xid8 not null,         -- the writing transaction; a sweep asks for those that its snapshot did not see
  slot       smallint not null,
  op         "char" not null,       -- I, U, D, T
  at         timestamptz not null,  -- when the row was written
  schema     text not null,
  "table"    text not null,
  old        json,                  -- the row before (U, D), without excluded columns
  new        json,                  -- the row after (I, U)
  actor      text                   -- the setting rowcast.actor, where the application makes use of it
) partition by list (slot);
comment on table rowcast.change is 'The change log. Written by capture triggers, swept by the rowcast service.';

-- A vacuum would freeze rows that are truncated soon, and keep them from it while it lasts. And to compress a row that
-- goes as soon costs a writer two thirds of the rest of its capture, so only what would not fit a page is compressed.
create table rowcast.change_0 partition of rowcast.change for values in (0)
  with (autovacuum_vacuum_insert_threshold = -1, toast_tuple_target = 8160);
create table rowcast.change_1 partition of rowcast.change for values in (1)
  with (autovacuum_vacuum_insert_threshold = -1, toast_tuple_target = 8160);
create table rowcast.change_2 partition of rowcast.change for values in (2)
  with (autovacuum_vacuum_insert_threshold = -1, toast_tuple_target = 8160);
-- For a slot whose partition is gone: its rows are swept like all, and the service says what is wrong.
create table rowcast.change_rest partition of rowcast.change default;
create index change_by_xid on rowcast.change (xid);
create index change_by_id on rowcast.change (id);

-- CACHE 1: the order of a row's changes rests on it.
create sequence rowcast.change_id as bigint cache 1;
-- The slot that writers fill. A sequence, since its value is seen at once, by every snapshot, and costs no lock.
create sequence rowcast.slot as smallint minvalue 0 maxvalue 2 start 0;
select setval('rowcast.slot', 0);
-- How many times capture had to let a change go, to spare the application's statement.
create sequence rowcast.loss as bigint;

-- How far the service has swept. One row.
create table rowcast.cursor (
  only_row          boolean primary key default true check (only_row),
  system_identifier text not null,             -- of the cluster that the snapshots belong to
  snapshot          pg_snapshot not null,      -- everything that it sees has been swept
  target            pg_snapshot,               -- while a large sweep is paged: the snapshot that it works towards,
  page_id           bigint,                    -- and the last id of it that has been swept
  loss              bigint not null default 0, -- the value of rowcast.loss that clients were told about
  horizon           pg_snapshot not null,      -- changes of transactions that it sees may have been truncated
  generation        bigint not null default 0, -- grows with each new holder of the lease; fences off former holders
  holder            text,                      -- the process that claimed it last
  timeline          integer,                   -- of the write-ahead log at that time: a promoted replica has another
  era               integer not null default 0, -- part of positions; drawn at random when the past becomes another one
  saved_at          timestamptz not null default now(),
  check ((target is null) = (page_id is null))
) with (fillfactor = 50);
comment on table rowcast.cursor is 'How far the change log has been swept; one row.';

insert into rowcast.cursor (system_identifier, snapshot, horizon)
select system_identifier::text, pg_current_snapshot(), pg_current_snapshot()
from pg_control_system();

-- Changes on which a rule failed: the change, the rule and the error.
create table rowcast.dead_letter (
  id        bigint generated always as identity primary key,
  change_id bigint not null,
  rule      text not null,
  error     text not null,
  change    jsonb not null,
  at        timestamptz not null default now(),
  unique (change_id, rule)
);
comment on table rowcast.dead_letter is 'Changes that a rule of the catalog failed on.';

-- These functions pin no search_path, which would cost as much as what they do: those that call them have, and nobody else may.

-- What stands for a column whose content stays in the table: a digest of it, which changes when the content does. Of an object
-- without its key cookie, which sessions rewrite each time they are touched.
create function rowcast.digest(content json) returns text
language plpgsql stable strict
as $$
declare
  digested text := content;
begin
  begin
    if json_typeof(content) = 'object' then
      digested := content::jsonb - 'cookie';
    end if;
  exception when others then
    null;  -- a column of type json may hold what jsonb can't, as \u0000
  end;
  return encode(sha256(convert_to(digested, getdatabaseencoding())), 'hex');
end
$$;
revoke all on function rowcast.digest(json) from public;

-- JSON with its escapes \\ and \u in a form that Postgres takes for letters, and back.
create function rowcast.masked(content json, mark text) returns json
language sql immutable strict
as $$ select replace(replace(content::text, '\\', mark || 'b'), '\u', mark || 'u')::json $$;
revoke all on function rowcast.masked(json, text) from public;
create function rowcast.unmasked(content json, mark text) returns json
language sql immutable strict
as $$ select replace(replace(content::text, mark || 'u', '\u'), mark || 'b', '\\')::json $$;
revoke all on function rowcast.unmasked(json, text) from public;

-- What rowcast.chosen() makes of a row that may hold what Postgres can't take apart, such as \u0000, though a column of type json may hold it. So
-- each escape is given another form while the row is in pieces.
create function rowcast.chosen_of_escaped(row_content json, arguments text[]) returns json
language plpgsql stable strict
as $$
declare
  mark     constant text := md5(row_content::text);  -- which the row doesn't hold
  masked   constant json := rowcast.masked(row_content, mark);
  excluded constant text[] := array(select rowcast.masked(to_json(n), mark) #>> '{}' from unnest(arguments[1]::text[]) as n);
  listed   constant text[] := array(select rowcast.masked(to_json(n), mark) #>> '{}' from unnest(arguments[2]::text[]) as n);
  digested constant text[] := array(select rowcast.masked(to_json(n), mark) #>> '{}' from unnest(arguments[3]::text[]) as n);
begin
  return (
    select coalesce(rowcast.unmasked(json_object_agg(
             e.key,
             case when e.key = any (digested) then to_json(rowcast.digest(rowcast.unmasked(e.value, mark))) else e.value end), mark), '{}')
    from json_each(masked) as e
    where e.key <> all (excluded) and (arguments[2] is null or e.key = any (listed || digested)));
end
$$;
revoke all on function rowcast.chosen_of_escaped(json, text[]) from public;

-- The names of a row's columns, in their order.
create function rowcast.names(row_content json) returns text[]
language sql stable strict
as $$
  select case when strpos(row_content::text, '\u') = 0 then array(select json_object_keys(row_content)) else
    (select array(select rowcast.unmasked(to_json(n), mark) #>> '{}' from json_object_keys(rowcast.masked(row_content, mark)) as n)
     from md5(row_content::text) as mark) end
$$;
revoke all on function rowcast.names(json) from public;

-- Of a row the columns that are captured. Of the trigger's arguments, 1 is the array of the columns that are left out, 2 that of
-- the only ones that are captured, where there are such, and 3 that of those of which only a digest is. A column that is added
-- later is in neither of these two, so it is never captured unasked.
create function rowcast.chosen(row_content json, arguments text[]) returns json
language sql stable strict
as $$
  select case when strpos(row_content::text, '\u') > 0 then rowcast.chosen_of_escaped(row_content, arguments) else
    (select coalesce(
       json_object_agg(e.key, case when e.key = any (arguments[3]::text[]) then to_json(rowcast.digest(e.value)) else e.value end),
       '{}')
     from json_each(row_content) as e
     where e.key <> all (arguments[1]::text[])
       and (arguments[2] is null or e.key = any (arguments[2]::text[] || arguments[3]::text[]))) end
$$;
revoke all on function rowcast.chosen(json, text[]) from public;

-- True if the log takes what rowcast.capture() inserts; else an error that says what is in the way.
--
-- The INSERT of no rows sees the columns and the rights as they are now, also in a transaction whose snapshot is older;
-- the catalogs tell what could refuse a row though the statement is right. A new session waits for this, so what is there
-- most often, the log as it was made, is told with few catalogs.
create function rowcast.look_at_log(log regclass) returns boolean
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  obstacles text;
begin
  insert into rowcast.change (id, xid, slot, op, at, schema, "table", old, new, actor)
  select 0::bigint, '0'::xid8, 0::bigint, 'I'::"char", now(), ''::name, ''::name, null::json, null::json, null::text where false;

  if exists (
    select from pg_class c
    where c.oid = log and c.relnatts = 10 and c.relchecks = 0
      and not (c.relhastriggers or c.relhasrules or c.relrowsecurity)
      and (select count(*) = 2 and bool_and(i.indnatts = 1 and i.indkey[0] in (1, 2) and not i.indisunique and i.indpred is null)
           from pg_index i where i.indrelid = c.oid)
      and (select p.partdefid from pg_partitioned_table p where p.partrelid = c.oid) <> 0
  ) then
    return true;
  end if;

  select string_agg(o.obstacle, ', ') into obstacles
  from (
    select format('column %I', a.attname)
    from pg_attribute a
    join pg_type t on t.oid = a.atttypid
    where a.attrelid = log and a.attnum > 0 and not a.attisdropped
      and a.attname not in ('id', 'xid', 'slot', 'op', 'at', 'schema', 'table', 'old', 'new', 'actor')
      and (a.attnotnull or a.atthasdef or t.typtype = 'd')
    union all select format('constraint %I', c.conname) from pg_constraint c where c.conrelid = log and c.contype <> 'n'
    union all select format('index %s', i.indexrelid::regclass) from pg_index i
    where i.indrelid = log and (i.indisunique or i.indexprs is not null or i.indpred is not null or (
      select a.attnum = any (i.indkey) from pg_attribute a where a.attrelid = log and a.attname = 'actor'))
    union all select format('trigger %I', t.tgname) from pg_trigger t
    where t.tgrelid = log and t.tgtype & 4 <> 0 and t.tgenabled <> 'D'
    union all select format('rule %I', r.rulename) from pg_rewrite r where r.ev_class = log and r.ev_type = '3'
    union all select 'row security' where row_security_active(log)
    union all select 'a slot without partition'
    where not exists (select from pg_partitioned_table p where p.partrelid = log and p.partdefid <> 0)
      and (select count(*) from pg_inherits h where h.inhparent = log) < 3
  ) as o (obstacle);
  if obstacles is not null then
    raise exception '% could refuse a row: %', log, obstacles;
  end if;
  return true;
end
$$;
revoke all on function rowcast.look_at_log(regclass) from public;

-- Whether the log takes changes, for an expression that is evaluated often.
--
-- It is declared immutable so that Postgres asks it when it plans the expression that it stands in, and then no more: where
-- all is well, a captured row pays nothing for it. The plan depends on the table that the constant argument names: whatever
-- alters that table, or the rights to it, has every session plan anew, and so ask anew. It raises no error, since a plan that
-- can't be made is tried again for each row.
create function rowcast.takes_changes(log regclass) returns boolean
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
begin
  return rowcast.look_at_log(log);
exception when others then
  return false;
end
$$;
revoke all on function rowcast.takes_changes(regclass) from public;

-- Notes in the setting rowcast.within, until the transaction ends, which version of a row was replaced within a trigger; of very
-- many only that they are.
create function rowcast.note_within(relation regclass, replaced tid) returns void
language plpgsql strict
set search_path = pg_catalog, pg_temp
as $$
declare
  most  constant integer := 200 * 1024;  -- characters, about 10,000 versions: they are copied for each that is added
  noted constant text := coalesce(current_setting('rowcast.within', true), '');
begin
  if noted <> '*' then
    perform set_config('rowcast.within', case when length(noted) < most then format('%s%s%s;', noted, relation::oid, replaced) else '*' end, true);
  end if;
end
$$;
revoke all on function rowcast.note_within(regclass, tid) from public;

-- Whether this version of a row was replaced within a trigger, and that has been captured already.
--
-- What a table's own triggers write to it is captured at the end of their own statement: before what the statement that called
-- them did to rows whose turn comes later. The order of such a row's changes is lost then. What foreign keys' actions do is
-- captured in its turn. Where very many were replaced, a version counts if it isn't there any more.
create function rowcast.replaced_within(relation regclass, version tid) returns boolean
language plpgsql strict
set search_path = pg_catalog, pg_temp
set row_security = off
as $$
declare
  noted    constant text := coalesce(current_setting('rowcast.within', true), '');
  is_there boolean;
begin
  if noted <> '*' then
    return strpos(';' || noted, format(';%s%s;', relation::oid, version)) > 0;
  end if;
  execute format('select exists (select from only %s where ctid = $1)', relation) into is_there using version;
  return not is_there;
exception when insufficient_privilege or serialization_failure then
  return false;
end
$$;
revoke all on function rowcast.replaced_within(regclass, tid) from public;

-- The capture trigger's function.
--
-- It names no column of the table that it is on, so the application may alter its tables freely. A row of a partition is
-- logged as the watched table's, however the table is partitioned.
--
-- It never fails the application's statement: all that can fail is done inside the block, and what happens there
-- writes nothing. So the block's subtransaction takes no transaction id (an id for each captured statement would, past
-- 64 in a transaction, slow everybody's snapshots), and a failure in it is counted in rowcast.loss and let go. The lock
-- keeps the log as it is until the transaction ends, and rowcast.takes_changes(), which has looked at it since, says that it
-- takes the row; so nothing of the log can fail the INSERT behind the block.
--
-- The doorbell: while the listener dozes it holds the lock (1919907683, 1) exclusively, so that this transaction can't
-- share it and rings. A transaction that shares it needn't ring, since the listener can't doze off before it has ended.
-- A full NOTIFY queue would fail the COMMIT, so from half full on nobody rings, and the listener comes by itself.
--
-- An expression of its own costs a transaction about as much as what it works out, so the block has few, and where all
-- columns are captured but one, though the other way needs the same id, slot and doorbell. Of `captured`, f1 is the row
-- before, f2 the row after, f3 the id, f4 the slot, and f5 nothing but the doorbell.
--
-- Its trigger is called _rowcast_capture: Postgres fires row triggers in the order of their names, and what one of the
-- application's makes of the same row has to come after what fired it. Where one of them has written to a row whose turn comes
-- only now, the row has an xmax (as one that was locked before has), and rowcast.replaced_within() knows of it: the change is
-- counted as lost.
--
-- Arguments: the constant payload of its NOTIFY; and where not all columns are captured, or the table is partitioned, what
-- rowcast.chosen() takes.
create function rowcast.capture() returns trigger
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  captured       record;
  watched_schema name;
  watched_table  name;
  largest        constant integer := 256 * 1024 * 1024;
begin
  begin
    if tg_op = 'UPDATE' and old operator(pg_catalog.*=) new then
      return null;
    end if;

    lock table only rowcast.change in row exclusive mode;

    if tg_nargs = 1 then
      captured := row(to_json(old), to_json(new),
        nextval('rowcast.change_id'), coalesce(pg_sequence_last_value('rowcast.slot'), 0),
        case when not pg_try_advisory_xact_lock_shared(1919907683, 1)
                  and pg_notification_queue_usage() < 0.5 and current_setting('max_prepared_transactions') = '0'
             then pg_notify('rowcast', tg_argv[0])::text end);
    else
      if tg_nargs = 2 and tg_argv[1] = '{}' then
        captured := row(to_json(old), to_json(new));
      else
        captured := row(rowcast.chosen(to_json(old), tg_argv), rowcast.chosen(to_json(new), tg_argv));
        if tg_op = 'UPDATE' and captured.f1::text = captured.f2::text then
          return null;
        end if;
      end if;
      captured := row(captured.f1, captured.f2,
        nextval('rowcast.change_id'), coalesce(pg_sequence_last_value('rowcast.slot'), 0),
        case when not pg_try_advisory_xact_lock_shared(1919907683, 1)
                  and pg_notification_queue_usage() < 0.5 and current_setting('max_prepared_transactions') = '0'
             then pg_notify('rowcast', tg_argv[0])::text end);
      if pg_partition_root(tg_relid) is not null then
        select n.nspname, c.relname into watched_schema, watched_table
        from pg_partition_ancestors(tg_relid) with ordinality as a (relation, distance)
        join pg_trigger t on t.tgrelid = a.relation and t.tgname = '_rowcast_capture' and t.tgparentid = 0
        join pg_class c on c.oid = a.relation
        join pg_namespace n on n.oid = c.relnamespace
        order by a.distance limit 1;
      end if;
    end if;
    -- The first line is worked out when this is planned, and gone from the plan where the log takes changes.
    if not rowcast.takes_changes('rowcast.change'::regclass) or new.xmax <> '0'::xid or pg_trigger_depth() > 1
       or pg_column_size(captured.f1) > largest or pg_column_size(captured.f2) > largest then
      if not rowcast.takes_changes('rowcast.change'::regclass) then
        perform rowcast.look_at_log('rowcast.change');  -- says why
      end if;
      if new.xmax <> '0'::xid and current_setting('rowcast.within', true) <> ''
         and rowcast.replaced_within(tg_relid, new.ctid) then
        raise exception 'a trigger of %.% changed the row again before its turn', tg_table_schema, tg_table_name;
      end if;
      if pg_trigger_depth() > 1 then
        perform rowcast.note_within(tg_relid, old.ctid);
      end if;
      if pg_column_size(captured.f1) > largest or pg_column_size(captured.f2) > largest then
        raise exception 'a row of %.% is larger than 256 MB', tg_table_schema, tg_table_name;
      end if;
    end if;
  exception when others then
    begin
      if current_setting('rowcast.loss_logged', true) is distinct from pg_current_xact_id()::text then
        raise log 'rowcast lost a change of %.%: % (%)', tg_table_schema, tg_table_name, sqlerrm, sqlstate;
        perform set_config('rowcast.loss_logged', pg_current_xact_id()::text, true);  -- once in a transaction
      end if;
      perform nextval('rowcast.loss');
    exception when others then
      null;  -- the sequence is gone too; the service finds the schema broken and says so
    end;
    return null;
  end;

  insert into rowcast.change (id, xid, slot, op, at, schema, "table", old, new, actor)
  values (captured.f3, pg_current_xact_id(), captured.f4, left(tg_op, 1)::"char", clock_timestamp(),
          coalesce(watched_schema, tg_table_schema), coalesce(watched_table, tg_table_name), captured.f1, captured.f2,
          nullif(current_setting('rowcast.actor', true), ''));
  return null;
end
$$;
revoke all on function rowcast.capture() from public;
comment on function rowcast.capture() is 'Trigger function: writes the row change to rowcast.change and rings the doorbell.';

-- The watched tables, read from the triggers themselves, so that it can't disagree with them.
create view rowcast.watched as
select c.oid::regclass as relation,
       n.nspname::text as schema,
       c.relname::text as "table",
       t.tgenabled in ('O', 'A') as enabled,
       case when t.tgnargs > 1
            then convert_from(substring(t.tgargs from e.first + 1 for octet_length(t.tgargs) - e.first - 1),
                              getdatabaseencoding())::text[]
            else '{}'::text[] end as excluded
from pg_catalog.pg_trigger t
cross join lateral (select position('\x00'::bytea in t.tgargs)) as e (first)  -- where the first argument ends
join pg_catalog.pg_class c on c.oid = t.tgrelid
join pg_catalog.pg_namespace n on n.oid = c.relnamespace
where t.tgname = '_rowcast_capture' and t.tgfoid = 'rowcast.capture'::regproc and t.tgparentid = 0;
comment on view rowcast.watched is 'The tables whose changes are captured.';

-- Makes a table watched: select rowcast.watch('public.products', array['secret']);
-- Excluded columns are left out of the log; a name that the table lacks is ignored.
-- Lock: SHARE ROW EXCLUSIVE on the table until the transaction ends: readers go on, writers wait. Set lock_timeout.
-- Says what it did: 'watched', or 'unchanged' (then it took no lock).
create function rowcast.watch(relation regclass, exclude text[] default '{}') returns text
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  kind      "char";
  name      text;
  schema    text;
  schema_id oid;
  wanted    text[] := (select coalesce(array_agg(distinct e order by e), '{}') from unnest(exclude) e where e is not null);
  arguments text;
begin
  select c.relkind, c.relname, n.nspname, n.oid into kind, name, schema, schema_id
  from pg_class c join pg_namespace n on n.oid = c.relnamespace where c.oid = relation;
  if kind not in ('r', 'p') then
    raise exception '% is not a table', relation using hint = 'Only tables can be watched: a view has no rows of its own.';
  end if;
  if schema in ('rowcast', 'pg_catalog', 'information_schema') or pg_is_other_temp_schema(schema_id)
     or schema_id = pg_my_temp_schema() then
    raise exception '% cannot be watched: it belongs to %', relation, schema;
  end if;
  if exists (select from rowcast.watched w where w.relation = watch.relation and w.enabled and w.excluded = wanted)
     and exists (select from pg_trigger t where t.tgrelid = relation and t.tgname = 'rowcast_truncate') then
    return 'unchanged';
  end if;

  arguments := case when wanted = '{}' and kind = 'r' then '' else format(', %L', wanted) end;
  execute format(
    'create or replace trigger _rowcast_capture after insert or update or delete on %s '
    'for each row execute function rowcast.capture(%L%s)',
    relation, json_build_object('table', schema || '.' || name, 'op', 'ROW')::text, arguments);
  execute format(
    'create or replace trigger rowcast_truncate after truncate on %s '
    'for each statement execute function rowcast.capture(%L%s)',
    relation, json_build_object('table', schema || '.' || name, 'op', 'TRUNCATE')::text, arguments);
  execute format('alter table %s enable trigger _rowcast_capture, enable trigger rowcast_truncate', relation);
  return 'watched';
end
$$;
comment on function rowcast.watch(regclass, text[]) is 'Puts the capture triggers on a table.';

-- Undoes rowcast.watch. Lock: ACCESS EXCLUSIVE on the table, for a moment. Says 'unwatched' or 'unchanged'.
create function rowcast.unwatch(relation regclass) returns text
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
  if not exists (select from pg_trigger t
                 where t.tgrelid = relation and t.tgname in ('_rowcast_capture', 'rowcast_truncate')) then
    return 'unchanged';
  end if;
  execute format('drop trigger if exists _rowcast_capture on %s', relation);
  execute format('drop trigger if exists rowcast_truncate on %s', relation);
  return 'unwatched';
end
$$;
comment on function rowcast.unwatch(regclass) is 'Takes the capture triggers off a table.';

-- Keeps the log within the retention, by age and by size; called by the service every second or so. Says how many slots it
-- emptied, how many bytes the log takes then, and what kept a slot from being emptied that was due.
--
-- Invariant: a slot is truncated only when nobody writes to it any more (the lock, which is given up after 20 ms) and
-- every row in it has been swept, by a cursor that is saved. Then no sweep can miss a row, and who returns to an older
-- position hasn't seen all that the horizon has. Of a transaction that was running when the cursor was saved nothing is in a
-- slot that goes, so the horizon counts none of them: a transaction that is open for long makes no position too old.
--
-- By age, a slot goes when its newest row is older than the retention, and every transaction up to it has been swept, so
-- that the positions of those who are connected stay good while a transaction is open for long. By size, the oldest goes
-- when the log is above its limit, whatever its age and whoever has a transaction open elsewhere; and to make room when
-- the slot that is written to has grown to half of the limit. Writers move on to the next slot when theirs covers half of
-- the retention, or takes a third of the limit. So the log covers at most one and a half times the retention (twice, where
-- it was the size that had them move on), takes at most its limit and what is written between two calls, and of what the
-- limit takes away at least the newest half of it stays. Without a limit (null) the age alone counts. Writers never wait:
-- the slot that is locked is not the one that they fill.
create function rowcast.rotate(
  retention interval, retention_bytes bigint, out emptied integer, out bytes bigint, out in_the_way text
)
language plpgsql security definer
set search_path = pg_catalog, pg_temp
set lock_timeout = '20ms'
set enable_seqscan = off
set jit = off  -- the line above makes every plan look costly enough to be compiled, which takes 15 ms
as $$
declare
  present   constant smallint := pg_sequence_last_value('rowcast.slot');
  following constant smallint := (present + 1) % 3;
  swept     constant pg_snapshot := (select c.snapshot from rowcast.cursor c);
  sizes     constant text := 'select sum(pg_total_relation_size(i.inhrelid)), pg_total_relation_size(''rowcast.change_%s'') '
                             'from pg_inherits i where i.inhparent = ''rowcast.change''::regclass';
  one_slot  smallint;
  present_bytes bigint;
  at_edge   timestamptz;
  last_xid  xid8;
  too_old   boolean;
  too_large boolean;
  ready     boolean;
begin
  if current_setting('transaction_isolation') <> 'read committed' then
    -- An older snapshot would not see what was written while this waited for a lock.
    raise exception 'rowcast.rotate needs the isolation level read committed';
  end if;
  emptied := 0;
  execute format(sizes, present) into bytes, present_bytes;
  foreach one_slot in array array[following, (present + 2) % 3] loop
    too_large := bytes > retention_bytes or (one_slot = following and present_bytes > retention_bytes / 2);
    execute format('select at from rowcast.change_%s order by id desc limit 1', one_slot) into at_edge;
    -- Without a row that anybody sees there may be those of transactions that were rolled back: they are due at once.
    continue when case when at_edge is null then pg_relation_size(format('rowcast.change_%s', one_slot)::regclass) = 0
                       else (too_large or at_edge < now() - retention) is not true end;
    begin
      execute format('lock table rowcast.change_%s in access exclusive mode', one_slot);
    exception when lock_not_available then
      in_the_way := coalesce(in_the_way, format('a transaction is open that wrote to rowcast.change_%s or read it', one_slot));
      continue;
    end;
    execute format('select at from rowcast.change_%s order by id desc limit 1', one_slot) into at_edge;
    execute format('select xid from rowcast.change_%s order by xid desc limit 1', one_slot) into last_xid;
    too_old := at_edge < now() - retention;
    ready := last_xid < pg_snapshot_xmin(swept);
    if not ready and too_large and last_xid < pg_snapshot_xmax(swept) then
      execute format('select not exists (select from rowcast.change_%s where xid = any ($1))', one_slot)
      into ready using array(select pg_snapshot_xip(swept));
    end if;
    if at_edge is null then
      ready := true;
      too_old := true;
    end if;
    if not ready then
      in_the_way := coalesce(in_the_way, format('not all of rowcast.change_%s has been swept', one_slot));
    end if;
    continue when (ready and (too_large or too_old)) is not true;
    execute format('truncate rowcast.change_%s', one_slot);
    update rowcast.cursor c set horizon = (
      select format('%s:%s:%s', coalesce((array_agg(r order by r))[1], edge.xid), edge.xid, string_agg(r::text, ',' order by r))
      from (select greatest(pg_snapshot_xmax(c.horizon)::text::numeric, last_xid::text::numeric + 1)::text::xid8) as edge (xid)
      left join pg_snapshot_xip(swept) as r on r < edge.xid and not pg_visible_in_snapshot(r, c.horizon)
      group by edge.xid
    )::pg_snapshot
    where last_xid is not null;
    emptied := emptied + 1;
    execute format(sizes, present) into bytes, present_bytes;
  end loop;

  execute format('select not exists (select from rowcast.change_%s)', following) into ready;
  execute format('select at from rowcast.change_%s order by id limit 1', present) into at_edge;
  if ready and (at_edge < now() - retention / 2 or present_bytes > retention_bytes / 3) then
    perform setval('rowcast.slot', following);
  end if;
end
$$;
revoke all on function rowcast.rotate(interval, bigint) from public;
comment on function rowcast.rotate(interval, bigint) is
  'Truncates slots of the change log that are past the retention, or above its limit in bytes, and swept.';

-- Empties the log and begins at the present: for a log that came with a dump, whose transaction ids mean nothing here.
-- Lock: ACCESS EXCLUSIVE on the log, for a moment; writers wait for it, and as long as that is waited for behind a transaction
-- that wrote to the log or reads it. So that is given up after `patience`, of each of the log's tables. Gives the new snapshot.
create function rowcast.start_anew(patience interval default '20 milliseconds') returns pg_snapshot
language plpgsql security definer
set search_path = pg_catalog, pg_temp
set lock_timeout = '20ms'
as $$
begin
  perform set_config('lock_timeout', greatest(1, extract(epoch from patience) * 1000)::integer::text, true);
  truncate rowcast.change;
  -- A later statement: its snapshot sees every writer that the lock had to wait for, and lists those that wait for it.
  update rowcast.cursor c
  set system_identifier = (select s.system_identifier::text from pg_control_system() s),
      snapshot = pg_current_snapshot(), target = null, page_id = null,
      horizon = pg_current_snapshot();
  return (select c.snapshot from rowcast.cursor c);
end
$$;
revoke all on function rowcast.start_anew(interval) from public;
comment on function rowcast.start_anew(interval) is 'Empties the change log, and sets the cursor to the present.';

-- Lets a role run the service: read the log, move the cursor, keep the retention. The lookups of the catalog need
-- SELECT on the application's tables that they name besides.
create function rowcast.grant_gateway(role regrole) returns void
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
revoke all on function rowcast.grant_gateway(regrole) from public;
comment on function rowcast.grant_gateway(regrole) is 'Grants a role what the rowcast service needs in the schema rowcast.';

insert into rowcast.migration (version, name) values (1, 'capture');
commit;
