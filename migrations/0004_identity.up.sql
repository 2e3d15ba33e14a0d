-- rowcast 0004: tables of which only some columns are captured, and with it the tables that say who may hear what.
--
-- Run by `rowcast migrate`, or by hand:  psql -v ON_ERROR_STOP=1 -f migrations/0004_identity.up.sql
-- The first part is one transaction and touches the schema rowcast alone. Each statement after it is a transaction of its
-- own: it holds SHARE ROW EXCLUSIVE on one table for a moment (readers go on, writers wait), and gives up after two seconds
-- behind a long transaction. Safe to run again.

begin;
set local lock_timeout = '2s';
set local statement_timeout = '30s';
set local client_min_messages = warning;

-- As in 0001, with two more columns: the only columns that are captured, null where it is all but the excluded ones, and
-- those of which only a digest is.
create or replace view rowcast.watched as
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

-- Makes a table watched: select rowcast.watch('public.products', array['secret']);
-- or, with a list of the only columns:  select rowcast.watch('public.users', only_columns => array['id', 'role']);
-- Other columns are left out of the log; a name that the table lacks is ignored. An update of other columns alone logs
-- nothing. Beside such a list, digest_columns => array['sess'] captures that a column changed, and not its content.
-- Lock: SHARE ROW EXCLUSIVE on the table until the transaction ends: readers go on, writers wait. Set lock_timeout.
-- Says what it did: 'watched', or 'unchanged' (then it took no lock).
drop function if exists rowcast.watch(regclass, text[]);
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
revoke all on function rowcast.unwatch(regclass) from public;
commit;

-- What may take a right away from somebody who is connected: the account, the stores, the session. Only the columns that say
-- so are captured: no password, no address, and of what a session holds a digest, since a logout may change nothing else. A
-- table that is watched already stays as it is.
set lock_timeout = '2s';
select c.oid::regclass as relation, rowcast.watch(
  c.oid, only_columns => array['id', 'role', 'user_type', 'seller_id', 'is_platform_admin'])
from pg_class c cross join lateral (
  select array_agg(a.attname::text) from pg_attribute a where a.attrelid = c.oid and not a.attisdropped) as has (columns)
where c.oid = to_regclass('public.users') and c.relkind in ('r', 'p')
  and has.columns @> array['id'] and has.columns && array['role', 'user_type', 'seller_id', 'is_platform_admin']
  and not exists (select from rowcast.watched w where w.relation = c.oid);
select c.oid::regclass as relation, rowcast.watch(
  c.oid, only_columns => array['id', 'user_id', 'store_owner_id', 'access_level', 'status'])
from pg_class c cross join lateral (
  select array_agg(a.attname::text) from pg_attribute a where a.attrelid = c.oid and not a.attisdropped) as has (columns)
where c.oid = to_regclass('public.user_store_memberships') and c.relkind in ('r', 'p')
  and has.columns @> array['user_id', 'store_owner_id', 'status']
  and not exists (select from rowcast.watched w where w.relation = c.oid);
select c.oid::regclass as relation, rowcast.watch(
  c.oid, only_columns => array['sid', 'expire'], digest_columns => array['sess'])
from pg_class c cross join lateral (
  select array_agg(a.attname::text) from pg_attribute a where a.attrelid = c.oid and not a.attisdropped) as has (columns)
where c.oid = to_regclass('public.sessions') and c.relkind in ('r', 'p')
  and has.columns @> array['sid', 'sess', 'expire']
  and not exists (select from rowcast.watched w where w.relation = c.oid);
select c.oid::regclass as relation, rowcast.watch(
  c.oid, only_columns => array['sid', 'expire'], digest_columns => array['sess'])
from pg_class c cross join lateral (
  select array_agg(a.attname::text) from pg_attribute a where a.attrelid = c.oid and not a.attisdropped) as has (columns)
where c.oid = to_regclass('public.session') and c.relkind in ('r', 'p')
  and has.columns @> array['sid', 'sess', 'expire']
  and not exists (select from rowcast.watched w where w.relation = c.oid);
insert into rowcast.migration (version, name) values (4, 'identity') on conflict do nothing;
reset lock_timeout;
