-- Undoes 0004. Tables of which only some columns are captured are unwatched, whoever watched them: what is left captures
-- whole rows, and nothing else of these tables shall get into the log.
-- Lock: ACCESS EXCLUSIVE on one of those tables at a time, for a moment, given up after two seconds: then run it again.
-- Each table is a transaction of its own, so psql must not be told to make one of all (-1).

set lock_timeout = '2s';
do $$
declare
  relation regclass;
begin
  for relation in select w.relation from rowcast.watched w where w.only_columns is not null loop
    perform rowcast.unwatch(relation);
    commit;
  end loop;
end
$$;
begin;
set local client_min_messages = warning;
drop view rowcast.watched;
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
select rowcast.grant_gateway(privilege.grantee::regrole)
from pg_catalog.pg_class c cross join lateral aclexplode(c.relacl) privilege
where c.oid = 'rowcast.cursor'::regclass and privilege.privilege_type = 'UPDATE'
  and privilege.grantee not in (0, c.relowner);

drop function rowcast.watch(regclass, text[], text[], text[]);
-- Makes a table watched: select rowcast.watch('public.products', array['secret']);
-- Excluded columns are left out of the log; a name that the table lacks is ignored.
-- Lock: SHARE ROW EXCLUSIVE on the table until the transaction ends: readers go on, writers wait. Set lock_timeout.
-- Says what it did: 'watched', or 'unchanged' (then it took no lock).
create or replace function rowcast.watch(relation regclass, exclude text[] default '{}') returns text
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
grant execute on function rowcast.unwatch(regclass) to public;

delete from rowcast.migration where version = 4;
commit;
reset lock_timeout;
