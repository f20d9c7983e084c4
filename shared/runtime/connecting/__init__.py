"""How connections to servers are made: by the URL as its setting has it now, with certificates that are read for each of them."""
