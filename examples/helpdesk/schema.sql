-- A help desk: customers open tickets, agents answer them. Loadable with psql alone; it knows nothing of rowcast.

create table users (
  id   text primary key,
  name text not null,
  role text not null check (role in ('agent', 'customer'))
);

create table tickets (
  id          bigint generated always as identity primary key,
  customer_id text not null references users (id),
  agent_id    text references users (id),                 -- null until somebody takes it
  title       text not null,
  status      text not null default 'open' check (status in ('open', 'pending', 'solved')),
  fee         numeric(10, 2),                             -- what a solved ticket costs the customer, if anything
  opened_at   timestamptz not null default now()
);

create table comments (
  id         bigint generated always as identity primary key,
  ticket_id  bigint not null references tickets (id) on delete cascade,
  author_id  text not null references users (id),
  body       text not null,
  internal   boolean not null default false,              -- between agents: never for the customer
  written_at timestamptz not null default now()
);
