-- Orders of a made-up shop. orders.db is made of it: see the README.
CREATE TABLE orders (id INTEGER PRIMARY KEY, customer TEXT NOT NULL, goods TEXT NOT NULL, paid_francs INTEGER NOT NULL, days_since_delivery INTEGER NOT NULL);
INSERT INTO orders VALUES (4101, 'Ada Keller', '4 chairs', 160, 12), (4102, 'Bo Frei', 'a lamp', 65, 45), (4103, 'Cy Weber', 'a table', 220, 3),
    (4104, 'Dana Roth', 'a desk', 310, 90), (4105, 'Eli Graf', '2 shelves', 180, 29), (4106, 'Gil Huber', 'a carpet', 120, 31),
    (4107, 'Hal Moser', '2 mirrors', 140, 30);
-- The rule of the shop: within 30 days of delivery all that was paid is paid back, later nothing.
CREATE VIEW refunds AS SELECT id, goods, days_since_delivery <= 30 AS in_time,
    IIF(days_since_delivery <= 30, 'refund', 'no refund') AS decision, IIF(days_since_delivery <= 30, paid_francs, 0) AS amount_francs,
    IIF(days_since_delivery <= 30, 'We pay you ' || paid_francs || ' francs back.',
        'We cannot pay you back: it was delivered ' || days_since_delivery || ' days ago, and 30 are allowed.') AS say
FROM orders;
