-- Orders of a made-up shop. orders.db is made of it: see the README.
CREATE TABLE orders (id INTEGER PRIMARY KEY, customer TEXT NOT NULL, goods TEXT NOT NULL, paid_francs INTEGER NOT NULL, days_since_delivery INTEGER NOT NULL);
INSERT INTO orders VALUES (4101, 'Ada Keller', '4 chairs', 160, 12), (4102, 'Bo Frei', 'a lamp', 65, 45), (4103, 'Cy Weber', 'a table', 220, 3),
    (4104, 'Dana Roth', 'a desk', 310, 90), (4105, 'Eli Graf', '2 shelves', 180, 29);
