-- Customers by segment, and those who bought in the range by RFM quintile. Cancelled orders do not count.
--
-- $1: start, inclusive; $2: end, exclusive; $3: the currency of orders, items and revenue. The segment follows from orders in any currency.
-- One pass over the index orders_by_buyer, which is in the order of customers and contains every column but the number of items.
WITH customer AS MATERIALIZED (
    SELECT customer_id,
           min(placed_at) < $1 AS bought_before,
           count(*) FILTER (WHERE placed_at >= $1) > 0 AS bought,
           count(*) FILTER (WHERE placed_at >= $1 AND currency = $3) AS orders,
           coalesce(sum(total) FILTER (WHERE placed_at >= $1 AND currency = $3), 0) AS revenue,
           max(placed_at) FILTER (WHERE placed_at >= $1 AND currency = $3) AS latest
    FROM orders
    WHERE status <> 'cancelled' AND placed_at < $2
    GROUP BY customer_id
), scored AS (
    -- 5 is best. Ties are ordered by the customer's id, code point by code point, so every quintile has as many customers as it can.
    SELECT ntile(5) OVER (ORDER BY latest, customer_id COLLATE "C") AS recency,
           ntile(5) OVER (ORDER BY orders, customer_id COLLATE "C") AS frequency,
           ntile(5) OVER (ORDER BY revenue, customer_id COLLATE "C") AS monetary,
           orders, revenue
    FROM customer
    WHERE orders > 0
)
SELECT CASE WHEN NOT bought THEN 'lapsed' WHEN bought_before THEN 'returning' ELSE 'new' END AS segment,
       NULL::integer AS recency, NULL::integer AS frequency, NULL::integer AS monetary,
       count(*) AS customers, sum(orders)::text AS orders, sum(revenue)::text AS revenue
FROM customer
GROUP BY 1
UNION ALL
SELECT NULL, recency, frequency, monetary, count(*), sum(orders)::text, sum(revenue)::text
FROM scored
GROUP BY recency, frequency, monetary
ORDER BY segment, recency, frequency, monetary
