-- Two agents, two customers, and a ticket of each customer.

insert into users (id, name, role) values
  ('ada', 'Ada', 'agent'),
  ('ben', 'Ben', 'agent'),
  ('carol', 'Carol', 'customer'),
  ('dave', 'Dave', 'customer');

insert into tickets (customer_id, agent_id, title) values
  ('carol', 'ada', 'The printer is on fire'),
  ('dave', null, 'How do I change my password?');
