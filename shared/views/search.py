"""Search results. Tables ``products``, ``customers``, ``orders`` (``projectors/models/search/migrations``)."""

from datetime import datetime
from enum import StrEnum

from pydantic import BaseModel


class Language(StrEnum):
    """The languages that PostgreSQL has a stemming dictionary for."""

    ARABIC = "arabic"
    ARMENIAN = "armenian"
    BASQUE = "basque"
    CATALAN = "catalan"
    DANISH = "danish"
    DUTCH = "dutch"
    ENGLISH = "english"
    FINNISH = "finnish"
    FRENCH = "french"
    GERMAN = "german"
    GREEK = "greek"
    HINDI = "hindi"
    HUNGARIAN = "hungarian"
    INDONESIAN = "indonesian"
    IRISH = "irish"
    ITALIAN = "italian"
    LITHUANIAN = "lithuanian"
    NEPALI = "nepali"
    NORWEGIAN = "norwegian"
    PORTUGUESE = "portuguese"
    ROMANIAN = "romanian"
    RUSSIAN = "russian"
    SERBIAN = "serbian"
    SPANISH = "spanish"
    SWEDISH = "swedish"
    TAMIL = "tamil"
    TURKISH = "turkish"
    YIDDISH = "yiddish"


class ProductHit(BaseModel):
    product_id: str
    name: str
    description: str | None
    category: str
    brand: str | None
    price: int
    currency: str
    rating_average: float | None
    """Rounded to two decimals; null without reviews."""
    review_count: int | None
    available: int | None
    """Units that can be had. This, `review_count` and `created_at` are null only until search is rebuilt after an update."""
    created_at: datetime | None
    version: int
    score: float
    """How well it matches; 0 unless sorted by relevance, below 0 if only by stems."""


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
