"""Search results. Tables ``products``, ``customers``, ``orders`` (``projectors/models/search/migrations``)."""

from datetime import datetime

from pydantic import BaseModel


class ProductHit(BaseModel):
    product_id: str
    name: str
    description: str | None
    category: str
    brand: str | None
    price: int
    currency: str
    version: int
    score: float


class OrderHit(BaseModel):
    order_id: str
    customer_id: str
    customer_name: str | None
    status: str
    currency: str
    item_count: int
    total: int
    placed_at: datetime
    version: int
    score: float
