-- rowcast 0005: tables that are captured by statement, for those that large statements write to.
--
-- Run by `rowcast migrate`, or by hand:  psql -v ON_ERROR_STOP=1 -f migrations/0005_by_statement.up.sql
-- One transaction, in the schema rowcast alone; each table stays captured as it is until rowcast.watch() says otherwise.
-- Locks: ACCESS EXCLUSIVE on the log for a moment, so writers of watched tables wait; given up after half a second behind a
-- transaction that wrote to it: then run it again.

begin;
set local lock_timeout = '500ms';
set local statement_timeout = '30s';
set local client_min_messages = warning;

-- What doesn't fit a page is compressed while its writer waits, with lz4 for less long.
do $$
declare
  slot regclass;
begin
  for slot in select i.inhrelid from pg_inherits i where i.inhparent = 'rowcast.change'::regclass loop
    execute format('alter table %s alter column old set compression lz4, alter column new set compression lz4', slot);
  end loop;
exception when feature_not_supported then
  null;  -- a Postgres that was built without it goes on as before
end
$$;

-- The capture triggers' function of a table that is captured by statement. What rowcast.capture() says of itself holds here:
-- it names no column, never fails the application's statement, and rings in the same way.
--
-- A statement of few rows is logged as rowcast.capture() would, a row of the log for each. Of one of many rows, up to 250 share
-- a row of the log, column by column: {"ids": […], "old": {…}, "new": {"stock": […], …}}, in its column new, with a small
-- letter for the operation. So no name is written twice, and of an update `old` has only the columns in which at least one of
-- these rows differs from before. Each change has its id still; the log's row has the last one of its own.
--
-- All is worked out in the block and written behind it, so its subtransaction takes no transaction id. But for a statement of
-- more than 1,000 rows, or of large ones, which memory should not hold: that is written in the block, with an id for the
-- subtransaction, and undone as a whole if something of it fails. Large rows are written one by one, as they would be by row.
--
-- Both transition tables hold the rows in the order in which the statement wrote them, so they are paired by place. How many
-- columns they have and how these are called is told by a row of them, as JSON: an older snapshot of the catalogs, which a
-- transaction may have, may say something else.
--
-- Triggers of the application's on the same table may write to that table before this one is called: rowcast.own_triggers().
-- What they write is captured before the statement that called them. rowcast.watch() refuses a table with such triggers; where
-- one was made later, a statement within a trigger is counted as lost, so that clients load anew, rather than hear changes in
-- the wrong order.
--
-- Arguments: as of rowcast.capture(), but for the digests.
create function rowcast.capture_statement() returns trigger
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_variable
declare
  few         constant integer := 80;                 -- rows that are logged one by one: cheaper up to about so many
  most        constant integer := 250;                -- rows that share one of the log,
  most_bytes  constant integer := 256 * 1024;         -- fewer if one takes more than its part of this, as it is stored,
  most_json   constant integer := 1024 * 1024;        -- or of this, as JSON,
  at_least    constant integer := 10;                 -- which is looked at for so many rows at least,
  one_of      constant integer := 100;                -- and for one of so many
  most_held   constant integer := 1000;               -- rows that are held in memory,
  held_json   constant integer := 64 * 1024 * 1024;   -- and JSON
  large       constant integer := 64 * 1024;          -- a large row, as it is stored
  largest     constant integer := 256 * 1024 * 1024;
  numbered    constant text := '(select row_number() over () as place, %s as image from %I as r) as %I';
  image       constant text := case when tg_nargs = 1 then 'to_json(r.*)' else 'rowcast.chosen(to_json(r.*), $7)' end;
  with_ids    constant text := ', array_agg(nextval(''rowcast.change_id'')) as ids';
  operation   "char" := left(tg_op, 1);
  olds        json[];
  news        json[];
  found_rows  bigint;
  row_bytes   integer;                                -- of the largest row; null where no row is large
  json_bytes  integer;                                -- of the largest that was looked at
  relation    text;
  rows        refcursor;
  found_row   record;
  captured    record;
  ids         bigint[];
  names       text[];
  aliases     text;
  aggregates  text;
  pieces      text;
begin
  begin
    if tg_op = 'UPDATE' then
      select array(select case when tg_nargs = 1 then to_json(r.*) else rowcast.chosen(to_json(r.*), tg_argv) end
                   from old_rows r limit 2),
             array(select case when tg_nargs = 1 then to_json(r.*) else rowcast.chosen(to_json(r.*), tg_argv) end
                   from new_rows r limit 2)
      into olds, news;
    elsif tg_op = 'INSERT' then
      news := array(select case when tg_nargs = 1 then to_json(r.*) else rowcast.chosen(to_json(r.*), tg_argv) end
                    from new_rows r limit 2);
    else
      olds := array(select case when tg_nargs = 1 then to_json(r.*) else rowcast.chosen(to_json(r.*), tg_argv) end
                    from old_rows r limit 2);
    end if;
    found_rows := cardinality(coalesce(news, olds));
    if found_rows = 0 or (found_rows = 1 and tg_op = 'UPDATE' and record_image_eq(row(olds), row(news))) then
      return null;
    end if;
    if pg_trigger_depth() > 1 and rowcast.own_triggers(tg_relid) is not null then
      raise exception 'it has triggers of its own that may write to it: run `rowcast watch` on it with --by row';
    end if;

    lock table only rowcast.change in row exclusive mode;

    -- f1 is the id of a single row, f2 the slot, f3 nothing but the doorbell.
    captured := row(case when found_rows = 1 then nextval('rowcast.change_id') end,
      coalesce(pg_sequence_last_value('rowcast.slot'), 0),
      case when not pg_try_advisory_xact_lock_shared(1919907683, 1)
                and pg_notification_queue_usage() < 0.5 and current_setting('max_prepared_transactions') = '0'
           then pg_notify('rowcast', tg_argv[0])::text end);
    -- The first line as in rowcast.capture(): gone from the plan, or down to the second call, which says why it doesn't.
    if not (rowcast.takes_changes('rowcast.change'::regclass) or rowcast.look_at_log('rowcast.change'))
       or (found_rows = 1 and (pg_column_size(olds) > largest or pg_column_size(news) > largest)) then
      raise exception 'a row of %.% is larger than 256 MB', tg_table_schema, tg_table_name;
    end if;

    if found_rows > 1 then
      -- Only a table that has moved values out of its rows has rows that are large.
      if exists (select from pg_class c where c.oid = tg_relid and c.reltoastrelid <> 0
                 and pg_relation_size(c.reltoastrelid) is distinct from 0) then
        if tg_op <> 'INSERT' then
          row_bytes := (select max(pg_column_size(r.*)) from old_rows r);
        end if;
        if tg_op <> 'DELETE' then
          row_bytes := greatest(row_bytes, (select max(pg_column_size(r.*)) from new_rows r));
        end if;
      end if;
      if row_bytes > large then
        execute format(
          'with image as materialized (
             select %s as old, %s as new from %s
           ), written as (
             insert into rowcast.change (id, xid, slot, op, at, schema, "table", old, new, actor)
             select nextval(''rowcast.change_id''), pg_current_xact_id(), $1, $2, clock_timestamp(), $3, $4, i.old, i.new, $5
             from image i
             where i.old::text is distinct from i.new::text
               and coalesce(pg_column_size(i.old), 0) <= $6 and coalesce(pg_column_size(i.new), 0) <= $6
           )
           select nextval(''rowcast.loss'') from image i where pg_column_size(i.old) > $6 or pg_column_size(i.new) > $6',
          case when tg_op = 'INSERT' then 'null::json' else 'before.image' end,
          case when tg_op = 'DELETE' then 'null::json' else 'after.image' end,
          case tg_op
            when 'INSERT' then format(numbered, image, 'new_rows', 'after')
            when 'DELETE' then format(numbered, image, 'old_rows', 'before')
            else format(numbered, image, 'old_rows', 'before') || ' join ' || format(numbered, image, 'new_rows', 'after')
                 || ' using (place)' end || ' order by place')
        using captured.f2, operation, tg_table_schema, tg_table_name, nullif(current_setting('rowcast.actor', true), ''), largest,
              tg_argv;
        return null;
      end if;

      if tg_op = 'DELETE' then
        found_rows := (select count(*) from old_rows);
      else
        found_rows := (select count(*) from new_rows);
      end if;
      if found_rows <= few then
        if tg_op <> 'INSERT' then
          olds := array(select case when tg_nargs = 1 then to_json(r.*) else rowcast.chosen(to_json(r.*), tg_argv) end
                        from old_rows r);
        end if;
        if tg_op <> 'DELETE' then
          news := array(select case when tg_nargs = 1 then to_json(r.*) else rowcast.chosen(to_json(r.*), tg_argv) end
                        from new_rows r);
        end if;
        ids := array(select nextval('rowcast.change_id') from generate_series(1, found_rows));
      end if;
    end if;

    if found_rows > few then
      foreach relation in array
        case tg_op when 'INSERT' then '{new_rows}' when 'DELETE' then '{old_rows}' else '{old_rows,new_rows}' end::text[]
      loop
        open rows no scroll for execute format('select r.* from %I as r', relation);
        loop
          fetch relative least(one_of, found_rows / at_least) from rows into found_row;
          exit when not found;
          names := coalesce(names, rowcast.names(to_json(found_row)));
          json_bytes := greatest(json_bytes, pg_column_size(
            case when tg_nargs = 1 then to_json(found_row) else rowcast.chosen(to_json(found_row), tg_argv) end));
        end loop;
        close rows;
      end loop;
      -- A column is called c and its place, so that none has the name of another thing here.
      select string_agg('c' || c.place, ', ' order by c.place),
             string_agg(format('json_agg(r.c%s)', c.place), ', ' order by c.place) filter (where c.wanted),
             coalesce(array_agg(c.name order by c.place) filter (where c.wanted), '{}')
      into aliases, aggregates, names
      from (select n.name, n.place, n.name <> all (coalesce(tg_argv[1]::text[], '{}'))
                     and n.name = any (coalesce(tg_argv[2]::text[], array[n.name]))
            from unnest(names) with ordinality as n (name, place)) as c (name, place, wanted);
      -- %%1$s is the transition table, %%2$s what else is worked out of each piece.
      pieces := format(
        '(select r.piece, array[%s]::json[] as columns %%2$s
          from (select (row_number() over () - 1) / %s as piece, row_number() over () as place, r.* from %%1$s as r (%s)
                order by piece, place) as r
          group by r.piece)',
        aggregates,
        greatest(1, least(most, most_bytes / coalesce(row_bytes, 1), most_json / json_bytes)),
        aliases);
      pieces := format(
        '(select ids[cardinality(ids)] as id, json_build_object(''ids'', ids, ''old'', %s, ''new'', %s) as content from %s)',
        case tg_op
          when 'INSERT' then 'null'
          when 'UPDATE' then '(select json_object_agg(c.name, c.old) from unnest($1, before.columns, after.columns) as c (name, old, new)
                               where record_image_ne(row(c.old), row(c.new)))'
          else '(select json_object_agg(c.name, c.old) from unnest($1, before.columns) as c (name, old))' end,
        case tg_op
          when 'DELETE' then 'null'
          else '(select json_object_agg(c.name, c.new) from unnest($1, after.columns) as c (name, new))' end,
        case tg_op
          when 'INSERT' then format(pieces, 'new_rows', with_ids) || ' as after'
          when 'DELETE' then format(pieces, 'old_rows', with_ids) || ' as before'
          else format(pieces, 'new_rows', with_ids) || ' as after join ' || format(pieces, 'old_rows', '')
               || ' as before using (piece) where record_image_ne(row(after.columns), row(before.columns))' end);
      operation := lower(operation::text);
      if found_rows > most_held or found_rows * json_bytes > held_json then
        execute format(
          'insert into rowcast.change (id, xid, slot, op, at, schema, "table", new, actor)
           select p.id, pg_current_xact_id(), $2, $3, clock_timestamp(), $4, $5, p.content, $6 from %s as p order by p.id', pieces)
        using names, captured.f2, operation, tg_table_schema, tg_table_name, nullif(current_setting('rowcast.actor', true), '');
        return null;
      end if;
      execute format('select array_agg(p.id order by p.id), array_agg(p.content order by p.id) from %s as p', pieces)
      into ids, news using names;
      olds := null;
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

  if found_rows = 1 then  -- as below, for less
    insert into rowcast.change (id, xid, slot, op, at, schema, "table", old, new, actor)
    values (captured.f1, pg_current_xact_id(), captured.f2, operation, clock_timestamp(), tg_table_schema, tg_table_name,
            olds[1], news[1], nullif(current_setting('rowcast.actor', true), ''));
    return null;
  end if;
  insert into rowcast.change (id, xid, slot, op, at, schema, "table", old, new, actor)
  select c.id, pg_current_xact_id(), captured.f2, operation, clock_timestamp(), tg_table_schema, tg_table_name,
         c.old, c.new, nullif(current_setting('rowcast.actor', true), '')
  from unnest(ids, olds, news) as c (id, old, new)
  where c.old::text is distinct from c.new::text;
  return null;
end
$$;
revoke all on function rowcast.capture_statement() from public;
comment on function rowcast.capture_statement() is
  'Trigger function: writes the changes of a statement to rowcast.change and rings the doorbell.';

-- The triggers of a table that may write to it before rowcast's own are called: those of a row, and those after a statement whose
-- names come first; null without any. One that fires before a row and does nothing but set its columns is none: written in
-- PL/pgSQL without a word that reads or writes a table, and without a function but some that are known, or in C.
create function rowcast.own_triggers(relation regclass) returns text
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select string_agg(t.tgname, ', ' order by t.tgname)
  from pg_trigger t
  join pg_proc p on p.oid = t.tgfoid
  join pg_language l on l.oid = p.prolang
  cross join lateral (select regexp_replace(
    p.prosrc, $quoted$[eE]'([^'\\]|\\.|'')*'|'[^']*'|"[^"]*"|--[^\n]*|/\*([^*]|\*+[^*/])*\*+/$quoted$, ' ', 'g')) as plain (source)
  where t.tgrelid = relation and not t.tgisinternal and t.tgenabled <> 'D'
    and t.tgfoid not in ('rowcast.capture'::regproc, 'rowcast.capture_statement'::regproc)
    and case
      when t.tgtype & 1 = 0 then t.tgtype & 2 = 0 and t.tgname < '_rowcast_capture'
      when t.tgtype & 2 = 0 then true
      when l.lanname = 'plpgsql' then
        plain.source ~* '\m(insert|update|delete|merge|truncate|copy|select|table|perform|call|execute)\M'
        or exists (
          select from regexp_matches(plain.source, '([a-z_][a-z0-9_$.]*)\s*\(', 'gi') as m
          where lower(m[1]) <> all (array[
            'if', 'elsif', 'and', 'or', 'not', 'in', 'when', 'then', 'return', 'case', 'else', 'numeric', 'varchar', 'char',
            'now', 'clock_timestamp', 'statement_timestamp', 'transaction_timestamp', 'timezone', 'date_trunc', 'extract',
            'coalesce', 'nullif', 'greatest', 'least', 'abs', 'round', 'floor', 'ceil', 'lower', 'upper', 'trim', 'btrim',
            'ltrim', 'rtrim', 'length', 'concat', 'concat_ws', 'replace', 'regexp_replace', 'left', 'right', 'substring',
            'md5', 'gen_random_uuid', 'to_tsvector', 'setweight', 'jsonb_build_object', 'to_jsonb', 'row_to_json']))
      else l.lanname not in ('c', 'internal')
    end
$$;
revoke all on function rowcast.own_triggers(regclass) from public;

-- Tables of which a statement's triggers would not see every row, or could see two changes of a row in the wrong order.
--
-- The actions of foreign keys count as part of the statement that they come from, and Postgres fires the triggers for each
-- operation once, at its end. So of a row that one key's action updates and another one's deletes the deletion may come first.
create view rowcast.not_by_statement as
select c.oid::regclass as relation, 'it is partitioned, and writes to a partition call the triggers of that one' as reason
from pg_catalog.pg_class c where c.relkind = 'p'
union all
select i.relation::regclass, 'it is a partition, inherits or is inherited from'
from (select inhrelid from pg_catalog.pg_inherits union select inhparent from pg_catalog.pg_inherits) as i (relation)
union all
select k.conrelid::regclass, 'a foreign key from the table to itself changes rows when it is updated'
from pg_catalog.pg_constraint k
where k.contype = 'f' and k.conrelid = k.confrelid and k.confupdtype in ('c', 'n', 'd')
union all
select k.conrelid::regclass, 'one of its foreign keys deletes rows and another one changes them when what they refer to is deleted'
from pg_catalog.pg_constraint k
where k.contype = 'f' and k.confdeltype in ('c', 'n', 'd')
group by k.conrelid having bool_or(k.confdeltype = 'c') and bool_or(k.confdeltype <> 'c');
comment on view rowcast.not_by_statement is 'Tables that can not be captured by statement, and why.';

-- As in 0004, with one more column: whether the table is captured by statement. Then it has a trigger for each operation,
-- and is captured as long as all are there and enabled, and it is not in rowcast.not_by_statement.
create or replace view rowcast.watched as
select c.oid::regclass as relation,
       n.nspname::text as schema,
       c.relname::text as "table",
       t.tgenabled in ('O', 'A') and (t.tgtype & 1 = 1 or (
         (select count(*) = 2 and bool_and(o.tgenabled in ('O', 'A')) from pg_catalog.pg_trigger o
          where o.tgrelid = t.tgrelid and o.tgname in ('_rowcast_capture_insert', '_rowcast_capture_delete'))
         and not exists (select from rowcast.not_by_statement o where o.relation = t.tgrelid))) as enabled,
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
            else '{}'::text[] end as digest_columns,
       t.tgtype & 1 = 0 as by_statement
from pg_catalog.pg_trigger t
-- Each argument ends with a zero byte; these are the arguments after the first, the second, and the third.
cross join lateral (select substring(t.tgargs from position('\x00'::bytea in t.tgargs) + 1)) as after_1 (arguments)
cross join lateral (select substring(after_1.arguments from position('\x00'::bytea in after_1.arguments) + 1))
  as after_2 (arguments)
cross join lateral (select substring(after_2.arguments from position('\x00'::bytea in after_2.arguments) + 1))
  as after_3 (arguments)
join pg_catalog.pg_class c on c.oid = t.tgrelid
join pg_catalog.pg_namespace n on n.oid = c.relnamespace
where t.tgname = '_rowcast_capture' and t.tgfoid in ('rowcast.capture'::regproc, 'rowcast.capture_statement'::regproc)
  and t.tgparentid = 0;

-- Makes a table watched: select rowcast.watch('public.products', array['secret']);
-- or, with a list of the only columns:  select rowcast.watch('public.users', only_columns => array['id', 'role']);
-- Other columns are left out of the log; a name that the table lacks is ignored. An update of other columns alone logs
-- nothing. Beside such a list, digest_columns => array['sess'] captures that a column changed, and not its content.
-- by_statement => true captures the table by statement, false by row; null, the default, leaves that as it is.
-- Lock: SHARE ROW EXCLUSIVE on the table until the transaction ends: readers go on, writers wait. From by statement to by
-- row: ACCESS EXCLUSIVE. Set lock_timeout.
-- Says what it did: 'watched', or 'unchanged' (then it took no lock).
drop function rowcast.watch(regclass, text[], text[], text[]);
create function rowcast.watch(
  relation regclass, exclude text[] default '{}', only_columns text[] default null, digest_columns text[] default '{}',
  by_statement boolean default null)
returns text
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  kind       "char";
  name       text;
  schema     text;
  schema_id  oid;
  wanted     text[] := (select coalesce(array_agg(distinct e order by e), '{}') from unnest(exclude) e where e is not null);
  chosen     text[] := (select array_agg(distinct e order by e) from unnest(only_columns) e where e is not null);
  digested   text[] := (select coalesce(array_agg(distinct e order by e), '{}') from unnest(digest_columns) e where e is not null);
  was        boolean := (select w.by_statement from rowcast.watched w where w.relation = watch.relation);
  will_be    boolean := coalesce(by_statement, was, false);
  payload    text;
  arguments  text;
  in_the_way text;
  former     text;
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
  if will_be then
    in_the_way := coalesce(
      (select string_agg(o.reason, '; ') from rowcast.not_by_statement o where o.relation = watch.relation),
      case when digested <> '{}' then 'of some of its columns only a digest is captured' end,
      'triggers of its own that write to it could put two changes of a row in the wrong order: ' || rowcast.own_triggers(relation));
    if in_the_way is not null then
      raise exception '% cannot be captured by statement: %', relation, in_the_way using hint = 'Capture it by row.';
    end if;
  end if;
  if exists (select from rowcast.watched w where w.relation = watch.relation and w.enabled and w.excluded = wanted
             and w.only_columns is not distinct from chosen and w.digest_columns = digested and w.by_statement = will_be)
     and exists (select from pg_trigger t where t.tgrelid = relation and t.tgname = 'rowcast_truncate')
     and (will_be or not exists (select from pg_trigger t where t.tgrelid = relation
                                 and t.tgname in ('_rowcast_capture_insert', '_rowcast_capture_delete'))) then
    return 'unchanged';
  end if;

  payload := json_build_object('table', schema || '.' || name, 'op', 'ROW')::text;
  arguments := case when digested <> '{}' then format(', %L, %L, %L', wanted, chosen, digested)
                    when chosen is not null then format(', %L, %L', wanted, chosen)
                    when wanted <> '{}' or kind = 'p' then format(', %L', wanted)
                    else '' end;
  if will_be then
    execute format(
      'create or replace trigger _rowcast_capture after update on %1$s referencing old table as old_rows new table as new_rows '
      'for each statement execute function rowcast.capture_statement(%2$L%3$s)', relation, payload, arguments);
    execute format(
      'create or replace trigger _rowcast_capture_insert after insert on %1$s referencing new table as new_rows '
      'for each statement execute function rowcast.capture_statement(%2$L%3$s)', relation, payload, arguments);
    execute format(
      'create or replace trigger _rowcast_capture_delete after delete on %1$s referencing old table as old_rows '
      'for each statement execute function rowcast.capture_statement(%2$L%3$s)', relation, payload, arguments);
    execute format('alter table %s enable trigger _rowcast_capture_insert, enable trigger _rowcast_capture_delete', relation);
  else
    for former in select t.tgname from pg_trigger t
                  where t.tgrelid = relation and t.tgname in ('_rowcast_capture_insert', '_rowcast_capture_delete') loop
      execute format('drop trigger %I on %s', former, relation);
    end loop;
    execute format(
      'create or replace trigger _rowcast_capture after insert or update or delete on %s '
      'for each row execute function rowcast.capture(%L%s)', relation, payload, arguments);
  end if;
  execute format(
    'create or replace trigger rowcast_truncate after truncate on %s '
    'for each statement execute function rowcast.capture(%L%s)',
    relation, json_build_object('table', schema || '.' || name, 'op', 'TRUNCATE')::text, arguments);
  execute format('alter table %s enable trigger _rowcast_capture, enable trigger rowcast_truncate', relation);
  return 'watched';
end
$$;
revoke all on function rowcast.watch(regclass, text[], text[], text[], boolean) from public;
comment on function rowcast.watch(regclass, text[], text[], text[], boolean) is 'Puts the capture triggers on a table.';

-- Undoes rowcast.watch. Lock: ACCESS EXCLUSIVE on the table, for a moment. Says 'unwatched' or 'unchanged'.
create or replace function rowcast.unwatch(relation regclass) returns text
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  name text;
  done text := 'unchanged';
begin
  for name in select t.tgname from pg_trigger t
              where t.tgrelid = relation and t.tgparentid = 0 and t.tgname in (
                '_rowcast_capture', '_rowcast_capture_insert', '_rowcast_capture_delete', 'rowcast_truncate') loop
    execute format('drop trigger %I on %s', name, relation);
    done := 'unwatched';
  end loop;
  return done;
end
$$;

insert into rowcast.migration (version, name) values (5, 'by_statement');
commit;
