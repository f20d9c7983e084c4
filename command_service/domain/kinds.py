"""The stream kinds, one line each. A kind's module defines its aggregate as ``AGGREGATE``."""

from command_service.domain import bookings as bookings
from command_service.domain import customers as customers
from command_service.domain import devices as devices
from command_service.domain import doctors as doctors
from command_service.domain import orders as orders
from command_service.domain import patients as patients
from command_service.domain import payments as payments
from command_service.domain import products as products
from command_service.domain import subjects as subjects
from command_service.domain import users as users
