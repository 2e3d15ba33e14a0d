-- (a) and (d): every row that changes is sent as JSON.

create function notify_product_change() returns trigger language plpgsql as $$
begin
  perform pg_notify('product_changes', row_to_json(new)::text);
  return null;
end
$$;

create trigger notify_product_change after insert or update on products
for each row execute function notify_product_change();
