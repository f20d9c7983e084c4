"""The bounded contexts, one line each. A context's module declares KINDS, COMMANDS, EVENTS, UPCASTERS, REFUSALS, and LAWS and PERSONS
if it has any."""

from shared.contracts import accounts as accounts
from shared.contracts import bookings as bookings
from shared.contracts import catalog as catalog
from shared.contracts import customers as customers
from shared.contracts import devices as devices
from shared.contracts import orders as orders
from shared.contracts import payments as payments
from shared.contracts import privacy as privacy
