"""The stream kinds, one line each. A kind's module defines its aggregate as ``AGGREGATE``."""

from command_service.domain import customers as customers
from command_service.domain import orders as orders
from command_service.domain import payments as payments
from command_service.domain import products as products
