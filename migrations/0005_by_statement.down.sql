-- Undoes 0005: tables that are captured by statement are captured by row again. What is left can't read the changes of large
-- statements, so a log that holds some is emptied: clients load anew. Stop the service first.
-- Locks: ACCESS EXCLUSIVE on one of those tables at a time, then on the log, for a moment, given up after half a second: then
-- run it again.
-- Each table is a transaction of its own, so psql must not be told to make one of all (-1).

set lock_timeout = '500ms';
do $$
declare
  watched record;
begin
  for watched in select w.relation, w.excluded, w.only_columns from rowcast.watched w where w.by_statement loop
    perform rowcast.watch(watched.relation, watched.excluded, watched.only_columns, by_statement => false);
    commit;
  end loop;
end
$$;
-- Triggers that were left over, when somebody dropped the first of a table by hand.
do $$
declare
  name     name;
  relation regclass;
begin
  for name, relation in select t.tgname, t.tgrelid from pg_trigger t where t.tgfoid = 'rowcast.capture_statement'::regproc loop
    execute format('drop trigger %I on %s', name, relation);
    commit;
  end loop;
end
$$;
-- Nobody writes changes of that kind any more, so they are looked for without a lock that keeps writers away.
do $$
begin
  if exists (select from rowcast.change where op in ('i', 'u', 'd')) then
    perform rowcast.start_anew('500 milliseconds');
  end if;
end
$$;

begin;
set local client_min_messages = warning;
do $$
declare
  slot regclass;
begin
  for slot in select i.inhrelid from pg_inherits i where i.inhparent = 'rowcast.change'::regclass loop
    execute format('alter table %s alter column old set compression default, alter column new set compression default', slot);
  end loop;
end
$$;

drop view rowcast.watched, rowcast.not_by_statement;
create view rowcast.watched as
select c.oid::regclass as relation,
       n.nspname::text as schema,
       c.relname::text as "table",
       t.tgenabled in ('O', 'A') as enabled,
       case when t.tgnargs > 1
            then convert_from(substring(after_1.arguments for position('\x00'::bytea in after_1.arguments) - 1),
                              getdatabaseencoding())::text[]
            else '{}'::text[] end as excluded,
       case when t.tgnargs > 2
            then convert_from(substring(after_2.arguments for position('\x00'::bytea in after_2.arguments) - 1),
                              getdatabaseencoding())::text[] end as only_columns,
       case when t.tgnargs > 3
            then convert_from(substring(after_3.arguments for position('\x00'::bytea in after_3.arguments) - 1),
                              getdatabaseencoding())::text[]
            else '{}'::text[] end as digest_columns
from pg_catalog.pg_trigger t
-- Each argument ends with a zero byte; these are the arguments after the first, the second, and the third.
cross join lateral (select substring(t.tgargs from position('\x00'::bytea in t.tgargs) + 1)) as after_1 (arguments)
cross join lateral (select substring(after_1.arguments from position('\x00'::bytea in after_1.arguments) + 1))
  as after_2 (arguments)
cross join lateral (select substring(after_2.arguments from position('\x00'::bytea in after_2.arguments) + 1))
  as after_3 (arguments)
join pg_catalog.pg_class c on c.oid = t.tgrelid
join pg_catalog.pg_namespace n on n.oid = c.relnamespace
where t.tgname = '_rowcast_capture' and t.tgfoid = 'rowcast.capture'::regproc and t.tgparentid = 0;
comment on view rowcast.watched is 'The tables whose changes are captured.';
select rowcast.grant_gateway(privilege.grantee::regrole)
from pg_catalog.pg_class c cross join lateral aclexplode(c.relacl) privilege
where c.oid = 'rowcast.cursor'::regclass and privilege.privilege_type = 'UPDATE'
  and privilege.grantee not in (0, c.relowner);

drop function rowcast.watch(regclass, text[], text[], text[], boolean);
create or replace function rowcast.watch(
  relation regclass, exclude text[] default '{}', only_columns text[] default null, digest_columns text[] default '{}')
returns text
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  kind      "char";
  name      text;
  schema    text;
  schema_id oid;
  wanted    text[] := (select coalesce(array_agg(distinct e order by e), '{}') from unnest(exclude) e where e is not null);
  chosen    text[] := (select array_agg(distinct e order by e) from unnest(only_columns) e where e is not null);
  digested  text[] := (select coalesce(array_agg(distinct e order by e), '{}') from unnest(digest_columns) e where e is not null);
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
  if only_columns is not null and chosen is null then
    raise exception 'the list of the only columns of % is empty', relation using hint = 'Name at least one, or leave the list out.';
  end if;
  if chosen is null and digested <> '{}' then
    raise exception 'digests of columns of % are asked for without a list of the only columns', relation
      using hint = 'Name the columns that are captured as they are, too: only_columns.';
  end if;
  if exists (select from rowcast.watched w where w.relation = watch.relation and w.enabled and w.excluded = wanted
             and w.only_columns is not distinct from chosen and w.digest_columns = digested)
     and exists (select from pg_trigger t where t.tgrelid = relation and t.tgname = 'rowcast_truncate') then
    return 'unchanged';
  end if;

  arguments := case when digested <> '{}' then format(', %L, %L, %L', wanted, chosen, digested)
                    when chosen is not null then format(', %L, %L', wanted, chosen)
                    when wanted <> '{}' or kind = 'p' then format(', %L', wanted)
                    else '' end;
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
revoke all on function rowcast.watch(regclass, text[], text[], text[]) from public;
comment on function rowcast.watch(regclass, text[], text[], text[]) is 'Puts the capture triggers on a table.';

create or replace function rowcast.unwatch(relation regclass) returns text
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

drop function rowcast.capture_statement();
drop function rowcast.own_triggers(regclass);
delete from rowcast.migration where version = 5;
commit;
reset lock_timeout;
