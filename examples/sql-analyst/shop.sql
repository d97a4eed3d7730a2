-- A small shop, made up for this example. shop.db is made of it: see the README.
CREATE TABLE customers (id INTEGER PRIMARY KEY, name TEXT NOT NULL, city TEXT NOT NULL);
CREATE TABLE products (id INTEGER PRIMARY KEY, name TEXT NOT NULL, price_francs INTEGER NOT NULL, in_stock INTEGER NOT NULL);
CREATE TABLE orders (
    id INTEGER PRIMARY KEY,
    customer_id INTEGER NOT NULL REFERENCES customers (id),
    product_id INTEGER NOT NULL REFERENCES products (id),
    quantity INTEGER NOT NULL,
    ordered_on TEXT NOT NULL,
    status TEXT NOT NULL -- open, shipped, delivered or returned
);
INSERT INTO customers VALUES (1, 'Ada Keller', 'Bern'), (2, 'Bo Frei', 'Basel'), (3, 'Cy Weber', 'Zurich'),
    (4, 'Dana Roth', 'Bern'), (5, 'Eli Graf', 'Geneva');
INSERT INTO products VALUES (1, 'chair', 40, 120), (2, 'table', 220, 14), (3, 'lamp', 65, 0), (4, 'shelf', 90, 33),
    (5, 'desk', 310, 6);
INSERT INTO orders VALUES
    (7701, 1, 1, 4, '2026-09-02', 'delivered'), (7702, 2, 3, 1, '2026-09-05', 'delivered'),
    (7703, 3, 2, 1, '2026-09-11', 'returned'), (7704, 1, 5, 1, '2026-09-20', 'delivered'),
    (7705, 4, 1, 6, '2026-10-01', 'shipped'), (7706, 5, 4, 2, '2026-10-03', 'delivered'),
    (7707, 2, 2, 1, '2026-10-08', 'shipped'), (7708, 4, 3, 2, '2026-10-15', 'open'),
    (7709, 3, 1, 2, '2026-10-19', 'open'), (7710, 1, 4, 1, '2026-10-22', 'open');
-- Each order on one line, with names in place of numbers.
CREATE VIEW sales AS
SELECT orders.id AS order_id, customers.name AS customer, city, products.name AS product, quantity, quantity * price_francs AS total_francs,
    ordered_on, status
FROM orders JOIN customers ON customers.id = customer_id JOIN products ON products.id = product_id;
