"""The yardstick of ``pages``: the same shop in a normalised schema, and the joins that its pages would be without read models.

Each query gives what the page shows, so that answers can be compared. Keys and indexes are those that the shop's transactions need.
"""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import asyncpg

DATABASE: Final = "normalised"
TABLES: Final = Path(__file__).with_name("normalised.sql").read_text()

# Six joins for the details (category, brand, stock, variants, prices, reviews), and the orders' lines with themselves for what is related.
PRODUCT_PAGE: Final = """
SELECT p.product_id, p.name, p.description, c.name AS category, b.name AS brand, p.currency, s.quantity AS stock,
    (SELECT json_agg(v.sku ORDER BY v.sku) FROM variants v WHERE v.product_id = p.product_id) AS variants,
    (SELECT json_agg(x.price ORDER BY x.changed_at) FROM prices x WHERE x.product_id = p.product_id) AS prices,
    r.total AS rated, r.number,
    (SELECT json_agg(json_build_array(related.product_id, related.orders, other.name) 
        ORDER BY orders DESC, related.product_id::text COLLATE "C")
     FROM (
        SELECT theirs.product_id, count(DISTINCT theirs.order_id) AS orders
        FROM order_lines mine
        JOIN orders o ON o.order_id = mine.order_id AND o.status <> 'cancelled'
        JOIN order_lines theirs ON theirs.order_id = mine.order_id AND theirs.product_id <> mine.product_id
        WHERE mine.product_id = p.product_id
        GROUP BY theirs.product_id HAVING count(DISTINCT theirs.order_id) >= 2
        ORDER BY orders DESC, theirs.product_id::text COLLATE "C" LIMIT 10
     ) AS related JOIN products other ON other.product_id = related.product_id) AS related
FROM products p
JOIN categories c USING (category_id)
JOIN brands b USING (brand_id)
JOIN stock s USING (product_id)
CROSS JOIN LATERAL (
    SELECT sum(rating) AS total, count(*) AS number FROM reviews WHERE product_id = p.product_id
) AS r
WHERE p.product_id = $1
"""

# $1 the word, $2 category, $3, $4 price, $5 rating, to two decimals. Available ones; the cheapest first, with the total and the facets.
SEARCH: Final = """
WITH matched AS MATERIALIZED (
    SELECT p.product_id, c.name AS category, b.name AS brand, price.price
    FROM products p
    JOIN categories c USING (category_id)
    JOIN brands b USING (brand_id)
    JOIN stock s USING (product_id)
    CROSS JOIN LATERAL (SELECT price FROM prices x WHERE x.product_id = p.product_id ORDER BY changed_at DESC LIMIT 1) AS price
    CROSS JOIN LATERAL (
        SELECT avg(rating) AS average FROM reviews WHERE product_id = p.product_id
    ) AS r
    WHERE (p.name ~* ('\\m' || $1 || '\\M') OR p.description ~* ('\\m' || $1 || '\\M')
            OR b.name ~* ('\\m' || $1 || '\\M') OR c.name ~* ('\\m' || $1 || '\\M'))
      AND ($2::text IS NULL OR c.name = $2) AND price.price BETWEEN $3 AND $4 AND r.average >= $5::numeric - 0.005 AND s.quantity > 0
)
SELECT (SELECT count(*) FROM matched) AS total,
    (SELECT json_object_agg(category, n) FROM (SELECT category, count(*) AS n FROM matched GROUP BY category) AS each) AS categories,
    (SELECT json_object_agg(brand, n) FROM (SELECT brand, count(*) AS n FROM matched GROUP BY brand) AS each) AS brands,
    ARRAY(SELECT product_id FROM matched
          ORDER BY price, ('product-' || product_id) COLLATE "C" LIMIT 50) AS ids
"""

# Eight tables: by day, in all regions, segments and departments.
REVENUE: Final = """
SELECT date_trunc('day', o.placed_at AT TIME ZONE 'UTC') AS start, count(DISTINCT o.order_id) AS orders, sum(l.quantity) AS items,
    sum(l.amount) AS revenue
FROM orders o
JOIN order_lines l USING (order_id)
JOIN products p USING (product_id)
JOIN categories c USING (category_id)
JOIN departments d USING (department_id)
JOIN customers u USING (customer_id)
JOIN regions g USING (region_id)
JOIN segments s USING (segment_id)
WHERE o.status <> 'cancelled'
GROUP BY 1 ORDER BY 1
"""
TOP_PRODUCTS: Final = """
SELECT l.product_id, p.name, sum(l.quantity) AS units
FROM orders o
JOIN order_lines l USING (order_id)
JOIN products p USING (product_id)
JOIN categories c USING (category_id)
JOIN departments d USING (department_id)
JOIN customers u USING (customer_id)
JOIN regions g USING (region_id)
JOIN segments s USING (segment_id)
WHERE o.status <> 'cancelled'
GROUP BY 1, 2 ORDER BY units DESC, ('product-' || l.product_id) COLLATE "C" LIMIT 10
"""

# A month's report: $1 and $2 are its start and end, $3 is region or category.
REPORT: Final = """
SELECT CASE WHEN $3 = 'region' THEN g.name ELSE c.name END AS key, count(DISTINCT o.order_id) AS orders, sum(l.quantity) AS items,
    sum(l.amount)::bigint AS revenue, count(DISTINCT o.customer_id) AS customers
FROM orders o
JOIN order_lines l USING (order_id)
JOIN products p USING (product_id)
JOIN categories c USING (category_id)
JOIN departments d USING (department_id)
JOIN customers u USING (customer_id)
JOIN regions g USING (region_id)
JOIN segments s USING (segment_id)
WHERE o.status <> 'cancelled' AND o.placed_at >= $1 AND o.placed_at < $2
GROUP BY 1 ORDER BY revenue DESC, key
"""

PRODUCTS: Final = """
SELECT p.product_id, p.name, p.description, c.name AS category, b.name AS brand, p.currency, p.created_at, s.quantity AS stock,
    ARRAY(SELECT price FROM prices x WHERE x.product_id = p.product_id ORDER BY changed_at) AS prices,
    ARRAY(SELECT changed_at FROM prices x WHERE x.product_id = p.product_id ORDER BY changed_at) AS changed,
    ARRAY(SELECT rating FROM reviews r WHERE r.product_id = p.product_id ORDER BY review_id) AS ratings
FROM products p JOIN categories c USING (category_id) JOIN brands b USING (brand_id) JOIN stock s USING (product_id)
WHERE p.product_id BETWEEN $1 AND $2
"""
ORDERS: Final = """
SELECT o.order_id, o.customer_id, o.status, o.currency, o.placed_at, g.name AS region, l.*
FROM orders o JOIN customers USING (customer_id) JOIN regions g USING (region_id)
CROSS JOIN LATERAL (
    SELECT array_agg(product_id ORDER BY line) AS products, array_agg(quantity ORDER BY line) AS quantities,
        array_agg(amount ORDER BY line) AS amounts
    FROM order_lines WHERE order_id = o.order_id
) AS l
WHERE o.order_id BETWEEN $1 AND $2
"""
POPULAR: Final = "SELECT popular(random()) FROM generate_series(1, $1)"
COUNT_ORDERS: Final = """
CREATE TEMPORARY TABLE in_orders AS SELECT product_id, count(DISTINCT order_id) AS orders FROM order_lines GROUP BY product_id
"""
IN_ORDERS: Final = "SELECT product_id, orders FROM in_orders ORDER BY abs(orders - $1::bigint), product_id LIMIT 1"
WORDS: Final = "SELECT split_part(name, ' ', $2) FROM products WHERE product_id % 997 = 5 ORDER BY product_id LIMIT $1"
COUNTS: Final = "SELECT (SELECT count(*) FROM products), (SELECT count(*) FROM orders)"
SIZE: Final = "SELECT pg_database_size(current_database())"


class Normalised:
    """The database. ``connection`` is the only one of this object."""

    def __init__(self, connection: asyncpg.Connection, products: int, orders: int) -> None:
        self.connection = connection
        self.products = products
        self.orders = orders

    @classmethod
    async def filled(cls, server_url: str, products: int, lines: int) -> "Normalised":
        owner = await asyncpg.connect(server_url)
        await owner.execute(f"CREATE DATABASE {DATABASE}")
        await owner.close()
        orders = lines // 10
        connection = await _connection(server_url, products, orders)
        await connection.execute(TABLES)
        await connection.execute("VACUUM ANALYZE")
        return cls(connection, products, orders)

    @classmethod
    async def opened(cls, server_url: str) -> "Normalised":
        """As it was filled before."""
        connection = await _connection(server_url, 0, 0)
        ((products, orders),) = await connection.fetch(COUNTS)
        await connection.close()
        return cls(await _connection(server_url, products, orders), products, orders)

    async def rows(self, statement: str, last: int, size: int) -> AsyncIterator[list[asyncpg.Record]]:
        """All rows of PRODUCTS or ORDERS, by ranges of ids."""
        for first in range(1, last + 1, size):
            yield await self.connection.fetch(statement, first, first + size - 1)

    async def value(self, statement: str, *arguments: Any) -> Any:
        return await self.connection.fetchval(statement, *arguments)


async def _connection(server_url: str, products: int, orders: int) -> asyncpg.Connection:
    sizes = {"products": products, "orders": orders, "customers": max(100, orders // 20), "spread": products**0.2 - 1}
    settings = {f"shop.{name}": str(size) for name, size in sizes.items()} | {"work_mem": "256MB"}
    url = urlsplit(server_url)._replace(path=f"/{DATABASE}").geturl()
    return await asyncpg.connect(url, server_settings=settings | {"maintenance_work_mem": "1GB"})
