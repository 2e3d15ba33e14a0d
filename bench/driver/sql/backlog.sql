-- What a busy outage leaves behind. Each statement touches its rows in another way than the one before, so that every
-- rule has something to look at. The count is kept for the benchmark, in a table that is not watched.

begin;
create table if not exists bench_backlog (changes bigint not null);
delete from bench_backlog;

with
    s as (update products set stock = stock - 1 where id like 'product-1%' returning 1),
    p as (update products set price = price + 0.01 where id like 'product-2%' returning 1),
    n as (update products set name = name || '.' where id like 'product-3%' returning 1),
    c as (update carts set updated_at = now(), status = case status when 'active' then 'ordered' else 'active' end
          where id like 'bench-cart-%' returning 1),
    o as (update orders set status = case status when 'pending' then 'processing' else 'pending' end
          where id like 'bench-order-%' returning 1),
    q as (update trade_quotations set total = total + 1, updated_at = now() where id like 'bench-quotation-%' returning 1),
    w as (update wholesale_orders set total_cents = total_cents + 1, updated_at = now() where id like 'bench-wholesale-%'
          returning 1),
    y as (update wholesale_payments set amount_cents = amount_cents + 1 where id like 'bench-payment-%' returning 1)
insert into bench_backlog
select (select count(*) from s) + (select count(*) from p) + (select count(*) from n) + (select count(*) from c)
     + (select count(*) from o) + (select count(*) from q) + (select count(*) from w) + (select count(*) from y);
commit;
